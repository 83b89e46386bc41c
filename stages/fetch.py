"""Bring one data set to data/raw/<name>."""

import argparse
import importlib
import logging

from actionrec import entry, paths
from actionrec.datasets import NAMES, published

logger = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.fetch", description=__doc__)
    parser.add_argument("dataset", choices=NAMES)
    name = parser.parse_args().dataset
    # By name, so that a data set's own file alone is a dependency of its stage.
    source = importlib.import_module(f"actionrec.datasets.{name}").SOURCE
    if isinstance(source, published.Published):
        published.bring(source, paths.RAW / name)
    else:
        source(paths.RAW / name)
    logger.info("%s is in %s", name, paths.RAW / name)


if __name__ == "__main__":
    entry.run(main)
