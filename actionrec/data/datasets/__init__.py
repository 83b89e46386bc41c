"""Data sets that the pipeline can fetch, one file each; `data.dataset: <name>` in params.yaml uses the file `<name>.py`.

Each file defines `fetch(folder: Path) -> None`: it makes sure that the data set is in `folder`, as `<Class>/<clip>` or with a list
`clips.csv`, and raises a DataError if it cannot. Only the file of the chosen data set is imported.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules


def names() -> list[str]:
    """Names of the data sets, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def fetch(name: str, folder: Path) -> None:
    """Make sure that a data set is in `folder`.

    Raises:
        DataError: it cannot be fetched, or `folder` holds something else.
    """
    import_module(f"{__name__}.{name}").fetch(folder)
