"""Read videos: decoder, sampling rule and frame store."""
