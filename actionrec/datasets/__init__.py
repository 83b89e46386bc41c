"""Data sets that the pipeline can fetch or make: one module each, whose SOURCE says where from."""

NAMES = ("sample", "ucf50", "ucf101", "hmdb51")
