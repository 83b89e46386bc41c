"""Work on shards in parallel: on this machine's cores, or on a Ray cluster."""
