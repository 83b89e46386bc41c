"""Video action recognition: from a folder of class-named clips to a comparison of sequence models."""

from importlib import import_module
from typing import Any

from actionrec.core import process_lifetime

process_lifetime.end_if_bound()  # first: a worker process whose parent was killed ends before it loads a library

from actionrec.io import environment  # noqa: E402, F401  # second: libraries read these variables when they are loaded

__all__ = ["Model", "SequenceModel", "__version__", "load", "train"]  # the public API; everything else is private


def __getattr__(name: str) -> Any:
    """Import the public API when it is used: `import actionrec` alone does not load torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("actionrec.version" if name == "__version__" else "actionrec.api"), name)
