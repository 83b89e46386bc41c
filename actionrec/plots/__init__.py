"""Pictures of results, as PNG bytes that are the same on every run."""
