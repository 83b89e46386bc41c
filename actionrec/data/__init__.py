"""Data: find clips, split them, and fetch data sets."""
