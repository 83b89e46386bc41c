"""Find the clips and divide them: data/clips.csv, data/split.csv, and data/other_folds.csv for `evaluation.folds=all`."""

import logging
from dataclasses import asdict, dataclass

from actionrec.core import entry, paths
from actionrec.data.clips import find_clips, write_clips
from actionrec.data.fold_plan import plan_folds
from actionrec.data.folds import EvaluationSettings, write_other_folds
from actionrec.data.splits import SplitSettings, duplicates, summarise, warnings, write_split
from actionrec.io import params
from actionrec.io.files import write_json
from actionrec.io.params import DataSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Params:
    """The parameters of this stage, from params.yaml."""

    seed: int
    data: DataSettings
    split: SplitSettings
    evaluation: EvaluationSettings


def main() -> None:
    settings = params.read(Params)
    folder = paths.RAW / settings.data.dataset
    clips = find_clips(folder, settings.data.group)
    plan = plan_folds(folder, clips, settings.split, settings.seed, all_folds=settings.evaluation.folds == "all")
    subsets = plan.subsets
    for same in duplicates(clips):
        kind = "the same contents" if len({clip.label for clip in same}) == 1 else "the same contents in DIFFERENT classes"
        sides = sorted({subsets[clip.id] for clip in same if clip.id in subsets})
        where = f"ON SEVERAL SIDES of the split ({', '.join(sides)})" if len(sides) > 1 else "kept on one side of the split"
        logger.warning("%s, %s: %s", kind, where, ", ".join(clip.id for clip in same))
    summary = {
        "dataset": settings.data.dataset,
        **asdict(settings.split),
        "seed": settings.seed,
        **summarise(clips, subsets, plan.others),
    }
    summary["warnings"] = warnings(clips, subsets, settings.split, plan.listed)
    if summary["clips_without_group"] and settings.split.protocol == "group":
        logger.warning(
            "%d of %d clips have names without a source video (_g<number>_c, as in v_Diving_g07_c02.avi): each counts as "
            "its own source, and siblings may be on both sides of the split. For other names, set data.group in params.yaml",
            summary["clips_without_group"],
            len(clips),
        )
    if summary["classes_without_test_clips"]:
        names = ", ".join(summary["classes_without_test_clips"])
        logger.warning("no test clips of: %s (too few groups; fewer split.folds may help)", names)
    for note in summary["warnings"]:
        logger.warning("%s", note)
    write_clips(paths.CLIPS, clips)
    write_split(paths.SPLIT, subsets)
    write_other_folds(paths.OTHER_FOLDS, plan.others)
    write_json(paths.SPLIT_METRICS, summary)
    counts = ", ".join(f"{summary[f'{name}_clips']} {name}" for name in ("train", "val", "test", "unused"))
    logger.info("%d clips: %s", len(clips), counts.removesuffix(", 0 unused"))


if __name__ == "__main__":
    entry.run(main)
