"""Clips, splits and data sets."""
