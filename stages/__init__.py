"""The stages of the pipeline, one script each: read parameters and files, call the package, write files."""

import actionrec  # noqa: F401 - first: it sets environment variables that libraries read when imported
