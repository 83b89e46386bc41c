"""Experiments beside the pipeline: the leak gap."""
