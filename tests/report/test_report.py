from dataclasses import replace

import numpy as np
import pytest
from fabricate import AUDIT, CONTEXT, first_right, trained

from actionrec.core.text import shorten
from actionrec.evaluation import analyses, study_results
from actionrec.evaluation.comparison import compare
from actionrec.evaluation.trained_models import Timing
from actionrec.report import escape_markdown, markdown, table, tables

TIMINGS = {name: Timing(12.34, 1500.0, "Tesla T4", 2.5, 16.0) for name in ("gru", "lstm", "transformer")}


def changed(**changes):
    return replace(CONTEXT, **changes)


def three(val=True):
    held = first_right(8, 10) if val else None
    return [
        trained("gru", first_right(90), parameters=4_000_000, classes=6, val_right=held),
        trained("lstm", first_right(88), parameters=5_000_000, classes=6, val_right=held),
        trained("transformer", first_right(17), parameters=9_000_000, classes=6, val_right=held),
    ]


def report(models, context=CONTEXT, timings=TIMINGS, confusion=None):
    """The whole report, with everything that is asked of the models."""
    answered = {model.name: model.predictions for model in models}
    baseline = trained("mean_pool", first_right(50), classes=6).predictions
    found = analyses.Analyses(
        baselines=analyses.against_baselines(answered, {"mean_pool": baseline}, {"mean_pool": 100}),
        orders=analyses.order_of_frames(answered),
        calibrations=analyses.calibrations(models),
        ensembles=analyses.combined(answered, models[0].name),
        costs=analyses.costs(models, {model.name: (1.5, 2.5) for model in models}),
        class_scores={model.name: analyses.class_scores(model.predictions, model.class_names) for model in models},
        missed=analyses.missed_by_all(answered, models[0].class_names),
        audit=AUDIT,
    )
    confusion = np.eye(6, dtype=np.int64) if confusion is None else confusion
    return markdown.report(compare(models), context, timings, confusion, found, models)


def written(context=CONTEXT):
    confusion = np.diag([17, 17, 17, 17, 16, 16])
    confusion[0, 1] = 4
    return report(three(), context, confusion=confusion)


def test_the_protocol_stands_beside_every_table():
    for section in written(changed(dataset="ucf50")).split("\n## "):
        if "| ---" in section:
            assert "Protocol: ucf50, group split, fold 0 of 5, 100 test clips." in section, section


def test_results_carry_intervals_and_verdicts():
    text = written()
    assert "|   1 | gru         |    90.0 |" in text
    assert "82.6–94.5" in text  # Wilson's, beside the interval of whole sources
    assert "**Tie for the first place**: the tests find no difference from gru for lstm." in text
    assert "**gru** is significantly more accurate than transformer." in text
    assert "tied with lstm; the cheapest of them is **gru**" in text
    assert "**Avoid: transformer**" in text
    assert "| a          | b         |    4 of 21 |" in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weights": "random"}, "**The backbone is untrained** (`features.weights: random`)"),
        ({"sibling_share": 0.953}, "**The split leaks**: 95.3 % of the test clips share a source video"),
        ({"val_clips": 0}, "**The epoch was chosen on the test clips**"),
        ({"class_names": ("a", "b", "c", "d", "e")}, "With 5 classes, top-5 is 100 %"),
        (
            {"split_warnings": ["60 of 60 test clips come from one source (cam_0)."]},
            "**Check the split**: 60 of 60 test clips come",
        ),
        ({"classes_without_test_clips": ("e*",)}, "No test clips, so no results, for: e\\*."),
        ({"duplicated_clips": 7}, "7 clips are byte-for-byte copies"),
    ],
)
def test_warnings_come_before_the_results(change, sentence):
    confusion = np.eye(len(change.get("class_names", CONTEXT.class_names)), dtype=np.int64)
    text = report(three(val=change.get("val_clips") != 0), changed(**change), confusion=confusion)
    assert sentence in text
    assert text.index(sentence) < text.index("## Results")
    assert sentence not in written()


def test_without_warnings_there_is_no_heading():
    assert "Before you read" not in written()


def test_models_that_learned_nothing_are_not_recommended():
    text = report([trained("gru", first_right(18), classes=6), trained("lstm", first_right(17), classes=6)])
    assert "**No model is shown to have learned anything**" in text
    assert "None is recommended. By the numbers alone:" in text
    assert "**Avoid: gru and lstm**: not shown to be better" in text
    assert "Most frequent errors of gru\n\nProtocol: sample" in text
    assert "None: all test clips are classified correctly." in text


def test_the_study_stands_beside_ucf50_only():
    text = written(changed(dataset="ucf50"))
    assert "| 97.23 (96.2–98.0) |" in text
    assert f"The study's protocol: {study_results.PROTOCOL}" in text
    assert "-7.2" in text
    assert "99.7 % of the study's test clips share a source video" in text
    assert "Comparison with the study" not in written()


def test_different_devices_are_not_compared():
    timings = {**TIMINGS, "gru": Timing(1.0, 9.0, "cpu", 2.5, 16.0)}
    assert "do not compare their times" in report(three(), timings=timings)
    assert "do not compare their times" not in written()


def test_every_line_of_a_table_has_the_same_width():
    lines = [line for line in written().splitlines() if line.startswith(("| gru ", "| model "))]
    assert len({len(line) for line in lines[:2]}) == 1
    padded = table(["x", "long title"], [["a", "1"], ["bbbbbb", "22"]], "lr")
    assert padded.splitlines() == [
        "| x      | long title |",
        "| ------ | ---------: |",
        "| a      |          1 |",
        "| bbbbbb |         22 |",
    ]


def test_markdown_is_escaped():
    assert escape_markdown("a|b *c* <d> [e] `f` \\g\nh") == r"a\|b \*c\* \<d\> \[e\] \`f\` \\g h"
    assert escape_markdown("simple_rnn _x_") == r"simple_rnn \_x\_"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("&#8238;x &lt; a&b", r"&\#8238;x \&lt; a&b"),
        ("https://evil.example", r"https\://evil.example"),
        ("www.evil.example", r"www\.evil.example"),
        ("a@b.example", r"a\@b.example"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("pull-ups 1.5", "pull-ups 1.5"),
        ("a\x1b[31m\u202e\u200b", r"a\\x1b\[31m\\u202e\\u200b"),
    ],
)
def test_markdown_makes_no_link_entity_or_list_of_a_name(text, shown):
    assert escape_markdown(text) == shown


@pytest.mark.parametrize("escape", [escape_markdown, tables.escape_latex, lambda text: shorten(text, 100)])
@pytest.mark.parametrize(
    "sign", ["\x00", "\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u3164", "\udcff"]
)
def test_no_control_bidirectional_or_invisible_character_reaches_a_report(escape, sign):
    assert escape(f"a{sign}b").isascii()
    assert escape(f"a{sign}b").isprintable()


def test_latex_is_escaped_and_complete():
    assert tables.escape_latex("a_b & 5% $x^2$ #1 {y} ~ \\z") == (
        r"a\_b \& 5\% \$x\textasciicircum{}2\$ \#1 \{y\} \textasciitilde{} \textbackslash{}z"
    )
    assert tables.escape_latex("[a] <b> |c|") == r"{[}a{]} \textless{}b\textgreater{} \textbar{}c\textbar{}"
    text = tables.latex(compare(three()), changed(dataset="my_data & more"), TIMINGS)
    assert "my\\_data \\& more, group split" in text
    assert "\\label{tab:actionrec-results}" in text
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 4
    assert {line.count(" & ") for line in rows} == {7}
    assert "gru & \\textbf{90.0} & " in text
    assert "lstm & \\textbf{88.0}" in text
    assert "transformer & 17.0" in text


def test_csv_rows_fit_their_header():
    rows = [dict(zip(tables.CSV_HEADER, row, strict=True)) for row in tables.csv_rows(compare(three()), CONTEXT, TIMINGS)]
    assert [row["model"] for row in rows] == ["gru", "lstm", "transformer"]
    assert rows[0]["top1_percent"] == "90.00"
    assert rows[0]["val_top1_percent"] == "80.00"
    assert rows[0]["p_against_best"] == ""
    assert [row["tied_with_best"] for row in rows] == ["yes", "yes", "no"]
    assert {row["protocol"] for row in rows} == {"group"}
    assert tables.csv_rows(compare(three(val=False)), CONTEXT, TIMINGS)[0][tables.CSV_HEADER.index("val_top1_percent")] == ""


def test_long_names_lose_their_middle():
    assert shorten("PlayingTheVeryLongGuitar", 12) == "Playin…uitar"
    assert shorten("two\n words", 12) == "two words"
    assert len(shorten("x" * 200, 26)) == 26


def test_clips_without_a_known_source_are_reported():
    assert "**The names of 7 of 410 clips do not tell their source video**" in written(changed(clips_without_group=7))
    assert "do not tell their source video" not in written()
