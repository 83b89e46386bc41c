"""Fetch the data set chosen in params.yaml into data/raw: the sample, a published data set, or your own clips."""

import logging
from dataclasses import dataclass

from actionrec.core import entry, paths
from actionrec.data import datasets, own_clips
from actionrec.io import params
from actionrec.io.params import DataSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Params:
    """The parameters of this stage, from params.yaml."""

    data: DataSettings


def main() -> None:
    name = params.read(Params).data.dataset
    folder = paths.RAW / name
    if name in datasets.names():
        datasets.fetch(name, folder)
    else:
        own_clips.require(folder, datasets.names())
    logger.info("%s is in %s", name, folder)


if __name__ == "__main__":
    entry.run(main)
