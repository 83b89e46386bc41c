"""Inspection: examine a data set before training."""
