"""Metrics, statistics and the comparison of trained models."""
