"""Text on the split that params.yaml asks for: groups, sizes of the subsets, and what the test set can show."""

from actionrec.core.text import shorten
from actionrec.evaluation.significance_tests import FEWEST_DIFFERING
from actionrec.inspection.split_preview import ACCURACY, SplitPreview
from actionrec.inspection.summary import Summary
from actionrec.report import table
from actionrec.report.wording import clean, listed

FEW_TEST_CLIPS = 10  # with fewer, one clip changes the accuracy of its class by more than 10 points
_NAMED = 10  # classes

SET_GROUP = (
    r"Set `data.group` to a regular expression whose first parentheses match the source video or person in a clip's path, such as "
    r"`(person\d+)_`; try it with `--group`."
)


def notes(preview: SplitPreview) -> list[str]:
    """Problems with the split to know before training."""
    if preview.problem:
        return [f"**The clips cannot be divided**: {clean(preview.problem, 600)}"]
    remedy = "" if preview.plan.all_folds else ", or test every clip with `evaluation.folds=all`"
    problems = []
    if preview.detectable is None:
        problems.append(
            f"**No difference between models can be shown**: the test clips come from {_count(preview.sources['test'], 'source')}; "
            f"the tests need at least {FEWEST_DIFFERING}. Add sources{remedy}."
        )
    few = sorted((count, name) for name, count in preview.test_clips.items() if 0 < count < FEW_TEST_CLIPS)
    if few:
        names = [f"{clean(name)} ({count})" for count, name in few]
        listing = listed(names) if len(names) <= _NAMED else f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED:,} more"
        problems.append(
            f"**Fewer than {FEW_TEST_CLIPS} test clips** in {len(few):,} of {len(preview.test_clips):,} classes: {listing}. "
            f"One clip changes the accuracy of such a class by more than 10 points. Add clips{remedy}."
        )
    return problems


def groups(summary: Summary, preview: SplitPreview) -> str:
    """How clips were assigned to groups, and how many groups there are."""
    plan = preview.plan
    if plan.group_pattern is None:
        rule = "`data.group` is not set, so groups are read from names as in UCF-101 (`_g07_c`) and HMDB-51."
    else:
        pattern = clean(plan.group_pattern, 200) if "`" in plan.group_pattern else f"`{shorten(plan.group_pattern, 200)}`"
        rule = f"Groups are read from names by `{plan.group_from}`: {pattern}."
    if preview.listed_groups:
        rule += " A group in clips.csv takes precedence."
    grouped = summary.clips - summary.clips_without_group
    if not grouped:
        return f"{rule} **No group was found**: each clip counts as its own source. {SET_GROUP}"
    group_count = summary.groups - summary.clips_without_group
    return f"{rule} Found: {_count(group_count, 'group')} in {grouped:,} of {summary.clips:,} clips."


def subsets(preview: SplitPreview) -> str:
    """The sizes of the subsets, and the difference that the test set can show."""
    if preview.problem:
        return ""
    plan, split = preview.plan, preview.plan.split
    if split.protocol == "official":
        which = "all official lists" if plan.all_folds else f"official list {split.fold}"
    else:
        folds = f"all {split.folds} folds" if plan.all_folds else f"fold {split.fold} of {split.folds}"
        which = f"{split.protocol}, {folds}"
    names = {"train": "training", "val": "validation", "test": "test"}
    if plan.all_folds:
        names = {"train": f"training, fold {split.fold}", "val": f"validation, fold {split.fold}", "test": "test, all folds"}
    rows = [[names[key], f"{preview.clips[key]:,}", f"{preview.sources[key]:,}"] for key in names]
    body = table(["subset", "clips", "sources"], rows, "lrr")
    settings = "the defaults, as there is no params.yaml here" if plan.is_default else "params.yaml"
    opening = (
        f"The split under {settings}: {which}, seed {plan.seed}. A source is a group or, with names as in UCF-101, a group of one "
        "class."
    )
    return "\n\n".join(filter(None, [opening, body, _can_show(preview)]))


def _can_show(preview: SplitPreview) -> str:
    if preview.detectable is None:
        return ""
    sources = preview.sources["test"]
    missed = (
        f"With {_count(sources, 'test source')}, a difference between two models below about {100 * preview.detectable:.0f} points "
        "will usually be missed."
    )
    if preview.detectable <= FEWEST_DIFFERING / sources:
        return f"{missed} The test needs at least {FEWEST_DIFFERING} sources on which the two models differ."
    disagreement = 2 * ACCURACY * (1 - ACCURACY)
    return (
        f"{missed} This assumes that the clips of one source are answered all correctly or all wrongly, and that the models "
        f"disagree on {100 * disagreement:.0f} % of the sources, as independent models with {100 * ACCURACY:.0f} % top-1 do. "
        "Models that disagree less can be told apart at smaller differences."
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
