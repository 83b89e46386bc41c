"""Experiments over several splits: cross-validation and the leak gap."""
