"""Check that the backbone's weights exist and fit, and download them if needed: data/weights.txt."""

from dataclasses import dataclass

from actionrec.core import entry, paths
from actionrec.features import weights_cache
from actionrec.features.settings import FeatureSettings
from actionrec.io import files, params


@dataclass(frozen=True)
class Params:
    """The parameters of this stage, from params.yaml."""

    features: FeatureSettings


def main() -> None:
    settings = params.read(Params).features
    weights_cache.require_weights(settings)

    from actionrec.features import backbones  # here: importing torch takes seconds, and a missing file or network is reported first

    backbones.create_backbone(settings)
    # The same text for all weights: see dvc.yaml.
    with files.whole_file(paths.WEIGHTS_CHECK) as draft:
        draft.write_text("The weights that params.yaml names were found, and fit the backbone.\n", encoding="utf-8")


if __name__ == "__main__":
    entry.run(main)
