"""Data sets: the drawn sample, published sets that can be fetched (one module each), and a person's own."""
