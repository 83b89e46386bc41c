"""Predict with a trained model: clips, timelines and explanations."""
