"""Find the clips and divide them: data/clips.csv and data/split.csv, and data/other_folds.csv for `evaluation.folds=all`.

data/tar_members.csv locates clips that are in tar shards.
"""

import logging
from dataclasses import asdict, dataclass

from actionrec.core import entry, paths
from actionrec.data import tar_shards
from actionrec.data.clip_files import write_members
from actionrec.data.clip_search import find_clips
from actionrec.data.clips import write_clips
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
    shards = tar_shards.scan(folder)
    clips = find_clips(folder, settings.data.group, shards=shards, memory=paths.HASHES)
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
    notes = warnings(clips, subsets, settings.split, plan.listed)
    summary["warnings"] = [*shards.damage, *notes]  # `scan` has logged the damage
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
    for note in notes:
        logger.warning("%s", note)
    write_clips(paths.CLIPS, clips)
    members = shards.members
    write_members(paths.TAR_MEMBERS, {clip.id: members[clip.id] for clip in clips if clip.id in members})
    write_split(paths.SPLIT, subsets)
    write_other_folds(paths.OTHER_FOLDS, plan.others)
    write_json(paths.SPLIT_METRICS, summary)
    counts = ", ".join(f"{summary[f'{name}_clips']} {name}" for name in ("train", "val", "test", "unused"))
    logger.info("%d clips: %s", len(clips), counts.removesuffix(", 0 unused"))


if __name__ == "__main__":
    entry.run(main)
