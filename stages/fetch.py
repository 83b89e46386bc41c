"""Make sure that the chosen data set is in data/raw: the sample, a published set, or a person's own clips."""

import logging
from dataclasses import dataclass

from actionrec.core import entry, paths
from actionrec.data.datasets import hmdb51, own, published, sample, ucf50, ucf101
from actionrec.io import params
from actionrec.io.params import DataSettings

logger = logging.getLogger(__name__)

PUBLISHED = {"ucf50": ucf50.SOURCE, "ucf101": ucf101.SOURCE, "hmdb51": hmdb51.SOURCE}


@dataclass(frozen=True)
class Params:
    """What this stage reads of params.yaml."""

    data: DataSettings


def main() -> None:
    name = params.read(Params).data.dataset
    folder = paths.RAW / name
    if name == "sample":
        sample.bring(folder)
    else:
        own.link_from_elsewhere(folder)
        if name in PUBLISHED:
            published.bring(PUBLISHED[name], folder)
        else:
            own.check(folder, ["sample", *PUBLISHED])
    logger.info("%s is in %s", name, folder)


if __name__ == "__main__":
    entry.run(main)
