"""The stages of the pipeline, one script each: read parameters and files, call the package, write files."""

import gc
import sys

import actionrec  # noqa: F401 - first: it sets environment variables that libraries read when imported

if sys.argv[:1] == ["-m"]:  # Python is about to run one
    gc.disable()  # until `entry.run`: importing torch and torchvision makes a million objects, and no garbage
