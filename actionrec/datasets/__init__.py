"""Data sets that the pipeline can fetch or make: one module each."""
