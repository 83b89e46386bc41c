"""Train sequence models on cached features."""
