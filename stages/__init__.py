"""One script a stage: read parameters and files, call the package, write files."""

import actionrec  # noqa: F401 - before a stage loads libraries: it sets what they read when they are loaded
