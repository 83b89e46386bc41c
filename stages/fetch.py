"""Bring one data set to data/raw/<name>."""

import argparse
import logging

from actionrec import entry, paths
from actionrec.datasets import sample

logger = logging.getLogger(__name__)

SAMPLE_SEED = 0  # the sample is one data set, the same for everyone; params' `seed` varies what is done with it


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.fetch", description=__doc__)
    parser.add_argument("dataset", choices=["sample"])
    name = parser.parse_args().dataset
    sample.generate(paths.RAW / name, SAMPLE_SEED)
    logger.info("%s is in %s", name, paths.RAW / name)


if __name__ == "__main__":
    entry.run(main)
