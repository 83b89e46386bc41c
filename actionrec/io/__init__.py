"""Files, tensors, parameters and machine settings."""
