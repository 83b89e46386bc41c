"""Train the last stages of the backbone on the training clips: data/backbone/. Does nothing if finetune.epochs is 0."""

from dataclasses import dataclass

from actionrec.core import entry, paths
from actionrec.data.splits import SplitSettings
from actionrec.features import tuned_backbone
from actionrec.features.settings import FeatureSettings
from actionrec.finetuning.settings import FinetuneSettings
from actionrec.io import files, params


@dataclass(frozen=True)
class Params:
    """The parameters of this stage, from params.yaml."""

    seed: int
    split: SplitSettings
    features: FeatureSettings
    finetune: FinetuneSettings


def main() -> None:
    settings = params.read(Params)
    if settings.finetune.epochs == 0:
        with files.whole_folder(paths.BACKBONE) as draft:
            tuned_backbone.write_untuned(draft)
        files.write_json(paths.FINETUNE_METRICS, {})
        files.write_json(paths.FINETUNE_TIMING, {})
        return

    from actionrec.finetuning import run  # here: importing torch takes seconds, and usually there is nothing to tune

    run.run(settings.features, settings.finetune, settings.seed, settings.split)


if __name__ == "__main__":
    entry.run(main)
