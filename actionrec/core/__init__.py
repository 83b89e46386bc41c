"""Plumbing that never changes a result: errors, paths, progress, logging, process lifetime."""
