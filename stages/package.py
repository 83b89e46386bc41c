"""Write a card for each model and one for the data set, and the best model's bundle with its card as data/best."""

import logging
import shutil
from typing import Any

from actionrec.core import entry, paths
from actionrec.core.errors import MALFORMED, DataError
from actionrec.core.text import shortened
from actionrec.data.clips import read_clips
from actionrec.data.splits import read_split
from actionrec.evaluation.analyses import class_scores
from actionrec.evaluation.context import read_context
from actionrec.evaluation.trained_models import SAME_ACCURACY, check_comparable, read_model, remake
from actionrec.features.tuned_backbone import read_tuned
from actionrec.io.files import read_csv, read_json, whole_folder, write_spreadsheet, write_text
from actionrec.models import MODELS
from actionrec.report.card import Evidence, card
from actionrec.report.class_table import is_cut
from actionrec.report.dataset_card import CLASSES, CLASSES_HEADER, DatasetRecords, class_rows, dataset_card
from actionrec.training.recipes import read_recipe
from actionrec.video.frame_store import DESCRIPTION, LEDGER, LEDGER_HEADER

logger = logging.getLogger(__name__)

CARD = "README.md"
AGAIN = "Run `dvc repro -f compare` to recompute it."


def main() -> None:
    gathered = gather()
    texts = {name: written(evidence) for name, evidence in gathered.items()}
    records, described = dataset_text(next(iter(gathered.values())))
    for name, text in texts.items():
        write_text(paths.model_card(name), text)
    write_text(paths.DATASET_CARD, described)
    if is_cut(len(classes := class_rows(records))):
        write_spreadsheet(paths.DATASET_CARD.with_name(CLASSES), CLASSES_HEADER, classes)
    best = next(iter(gathered.values())).comparison["best"]
    with whole_folder(paths.BEST) as draft:
        for file in sorted(paths.model_folder(best).iterdir()):
            shutil.copyfile(file, draft / file.name)
        if tuned := read_tuned(paths.BACKBONE):
            shutil.copyfile(tuned.weights, draft / tuned.weights.name)
        write_text(draft / CARD, texts[best])
    logger.info("%s: the bundle of %s. %s: cards of the models and the data set.", paths.BEST, best, paths.model_card(best).parent)
    logger.info("Next: `python -m actionrec predict VIDEO` classifies a clip, `python -m actionrec serve` starts the web page.")


def gather() -> dict[str, Evidence]:
    """Read the results of each model, and check that they are from one run.

    Raises:
        DataError: a file is missing or damaged, or is not of the same run as another.
        ParamsError: params.yaml has no valid settings for a model.
    """
    models = [read_model(name) for name in MODELS]
    check_comparable(models)
    context = read_context(models[0])
    comparison, audit = read_json(paths.COMPARISON), read_json(paths.AUDIT)
    if not isinstance(comparison, dict) or comparison.get("best") not in MODELS:
        raise DataError(f"{paths.COMPARISON} does not say which model is the best. {AGAIN}")
    evidence = {}
    for model in models:
        name = model.name
        numbers = read_json(paths.model_metrics(name))
        check_compared(name, numbers, comparison)
        bundle = read_json(paths.model_folder(name) / "model.json")
        scores = class_scores(model.predictions, model.class_names)
        evidence[name] = Evidence(model, context, read_recipe(name), bundle, numbers, comparison, scores, audit)
    return evidence


def check_compared(name: str, numbers: dict[str, Any], comparison: dict[str, Any]) -> None:
    """Check that compare.json has the accuracy that a model's metrics.json has.

    Raises:
        DataError: the accuracy differs, or is missing.
    """
    try:
        compared = comparison["models"][name]["top1"]
        own = numbers["folds_top1_mean"] if "folds_top1_mean" in numbers else numbers["test_top1_mean"]
        same = abs(compared - own) <= SAME_ACCURACY
    except KeyError as error:
        raise DataError(f"{paths.COMPARISON} or {paths.model_metrics(name)}: lacks {error}. Run `dvc repro`.") from None
    except MALFORMED as error:
        reason = shortened(repr(error), 200)
        raise DataError(f"{paths.COMPARISON} or {paths.model_metrics(name)}: damaged ({reason}). Run `dvc repro`.") from None
    if not same:
        raise DataError(
            f"{paths.COMPARISON} has a top-1 of {compared:.6f} for {name}, but {paths.model_metrics(name)} says {own:.6f}; they "
            f"are not from one run. {AGAIN}"
        )


def written(evidence: Evidence) -> str:
    """The text of a model's card.

    Raises:
        DataError: an entry is missing, or has the wrong type.
    """
    try:
        return card(evidence)
    except KeyError as error:
        where = f"{paths.model_metrics(evidence.name)}, {paths.model_folder(evidence.name) / 'model.json'}, {paths.COMPARISON}"
        raise DataError(f"{where} or {paths.AUDIT}: lacks {error}. {remake(evidence.name)}") from None
    except MALFORMED as error:
        where = f"{paths.model_metrics(evidence.name)}, {paths.COMPARISON} or {paths.AUDIT}"
        reason = shortened(repr(error), 200)
        raise DataError(f"{where}: an entry has the wrong type ({reason}). Run `dvc repro -f compare`.") from None


def dataset_text(evidence: Evidence) -> tuple[DatasetRecords, str]:
    """What the data set's card is written from, and its text.

    Raises:
        DataError: a file is missing or damaged, or an entry is missing or has the wrong type.
    """
    ledger = read_csv(paths.FRAMES / LEDGER, LEDGER_HEADER)
    clips, subset_of = read_clips(paths.CLIPS), read_split(paths.SPLIT)
    split, frames = read_json(paths.SPLIT_METRICS), read_json(paths.FRAMES / DESCRIPTION)
    try:
        records = DatasetRecords(evidence.context, split["validation"], clips, subset_of, ledger, frames, evidence.audit)
        return records, dataset_card(records)
    except MALFORMED as error:
        where = f"{paths.SPLIT_METRICS}, {paths.FRAMES / DESCRIPTION}, {paths.FRAMES / LEDGER} or {paths.AUDIT}"
        reason = shortened(repr(error), 200)
        raise DataError(f"{where}: an entry is missing or has the wrong type ({reason}). Run `dvc repro`.") from None


if __name__ == "__main__":
    entry.run(main)
