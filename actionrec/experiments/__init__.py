"""Experiments beside the pipeline: the leak gap and the learning curve."""
