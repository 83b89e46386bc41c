"""Video action recognition: from a folder of class-named clips to a comparison of sequence models."""

from actionrec.core import process_lifetime

process_lifetime.end_if_bound()  # first: a worker whose parent was killed ends before it loads a library

from actionrec.io import environment  # noqa: E402, F401  # second: libraries read these variables when they are loaded
