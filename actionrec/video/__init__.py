"""Videos: decoder, clip reader, sampling rule and frame store."""
