"""One script a stage: read parameters and files, call the package, write files."""
