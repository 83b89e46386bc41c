import re
from dataclasses import replace

import numpy as np
import pytest
from fabricate import AUDIT, BACKBONE, CLIP_TIMING, CONTEXT, NO_BACKBONE, first_right, trained

from actionrec.core.text import shorten
from actionrec.evaluation import analyses, metrics, study_results
from actionrec.evaluation.clip_cost import BackboneCost
from actionrec.evaluation.comparison import compare
from actionrec.evaluation.group_scores import group_scores
from actionrec.evaluation.intervals import Interval
from actionrec.evaluation.risk_coverage import risk_coverage
from actionrec.evaluation.suspect_labels import check_labels
from actionrec.evaluation.trained_models import Timing
from actionrec.report import comparison_report, escape_markdown, table, tables
from actionrec.report.headline import headline
from actionrec.video.frame_settings import Snippet

TIMINGS = {name: Timing(12.34, 1500.0, "Tesla T4", 2.5, 16.0) for name in ("gru", "lstm", "transformer", "mean_pool")}


def changed(**changes):
    return replace(CONTEXT, **changes)


def four(val=True):
    held = first_right(8, 10) if val else None

    def model(name, correct, **changes):
        return trained(name, first_right(correct), classes=6, val_right=held, **changes)

    return [
        model("gru", 90, parameters=4_000_000),
        model("lstm", 88, parameters=5_000_000),
        model("transformer", 17, parameters=9_000_000),
        model("mean_pool", 60, parameters=12_000, order_blind=True),
    ]


def in_folds(count):
    """The four models with their test clips divided over folds, clip by clip."""
    folds = np.arange(110) % count
    models = [replace(model, predictions=replace(model.predictions, folds=folds)) for model in four()]
    saved = [model.predictions.saved_test for model in models]
    return [replace(model, test_top1=metrics.top_k(test.logits, test.labels, 1)) for model, test in zip(models, saved, strict=True)]


def compared(models, backbone=BACKBONE):
    return compare(models, 0.02, backbone)


def written(models=None, context=CONTEXT, timings=TIMINGS, audit=AUDIT, backbone=BACKBONE):
    """Both texts of the comparison, from the analyses themselves: report.md and details.md."""
    models = four() if models is None else models
    result = compared(models, backbone)
    answered = {row.name: next(model.predictions for model in models if model.name == row.name) for row in result.leaderboard}
    found = analyses.Analyses(
        baselines=analyses.against_baselines(answered, result.baselines),
        orders=analyses.order_of_frames(answered),
        calibrations=analyses.calibrations(models),
        ensembles=analyses.combined(answered, result.leaderboard[0].name),
        costs=analyses.costs(models, {model.name: (1.5, 2.5) for model in models}, backbone, CLIP_TIMING),
        class_scores={model.name: analyses.class_scores(model.predictions, model.class_names) for model in models},
        groups={model.name: group_scores(model.test) for model in models},
        risks={model.name: risk_coverage(model) for model in models},
        missed=analyses.missed_by_all(answered, models[0].class_names),
        label_checks=check_labels(models, result.advice.avoid),
        audit=audit,
    )
    report = comparison_report.report(result, context, found, models)
    return report, comparison_report.details(result, context, timings, found, models)


@pytest.fixture(scope="module")
def texts():
    return written()


def cells(text):
    """Cells of each row of each table."""
    return [
        [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        for block in text.split("\n\n")
        if block.startswith("| ")
    ]


def test_the_report_starts_with_the_model_its_lead_and_its_cost(texts):
    report, _ = texts
    assert "- **Deploy gru**: 90.0 % top-1 on 100 test clips from 50 source videos (95 % interval " in report
    assert "Its lead of 2.0 points over lstm can be chance." in report
    assert "With the backbone it needs 261.83 GFLOPs per clip and 27.5 M parameters; gru alone, 0.26 and 4.0." in report
    assert "- **Sequence modelling helps.** gru against mean_pool, which ignores the order of frames: +30.0 points" in report
    assert "Only fold 0 of 5 was tested: `dvc exp run -S evaluation.folds=all` tests every fold" in report
    assert report.index("Deploy gru") < report.index("## Models")


def test_the_headline_says_how_many_sources_would_show_the_lead(texts):
    test = compared(four()).pair("gru", "lstm").test
    needed = int(np.ceil(50 * (test.detectable / test.difference) ** 2))
    assert not test.is_real
    assert f"About {needed} would usually show that a lead of 2.0 points over lstm is real." in texts[0]
    gru, _, *others = four()
    assert "would usually show" not in written([gru, replace(gru, name="lstm"), *others])[0]  # no lead
    clear = [gru, trained("lstm", first_right(60), classes=6, val_right=first_right(8, 10)), *others]
    assert "would usually show" not in written(clear)[0]  # the lead is shown already


def test_differences_are_suggested_for_real_data_where_only_frames_were_used(texts):
    line = "`dvc exp run -S 'features.streams=[rgb,diff]'` adds the differences of neighbouring frames"
    assert line not in texts[0]  # the sample
    assert line in written(context=changed(dataset="mine"))[0]
    with_both, _ = written(context=changed(dataset="mine", streams=("rgb", "diff")))
    assert line not in with_both
    assert "100 test clips, streams rgb and diff." in with_both
    assert "so even the baselines and shuffled clips show motion between two frames" in with_both
    assert "show motion" not in texts[0]
    with_snippets, _ = written(context=changed(dataset="mine", backbone="r3d_18", snippet=Snippet(16, 15.0)))
    assert line not in with_snippets  # a video backbone sees motion
    assert "100 test clips, snippets of 16 frames at 15 frames per second." in with_snippets
    shown = (
        "The features of one snippet (16 frames at 15 frames per second) show motion, so the baselines and shuffled clips hide only"
    )
    assert f"{shown} the order of the snippets." in with_snippets


def test_sections_open_with_their_findings(texts):
    report, _ = texts
    assert "- **gru is better than mean_pool and transformer** (p at most" in report
    assert "- Not shown to differ from gru: lstm. That does not mean that they are equal." in report
    assert "**Avoid transformer**: not shown to be better" in report
    for title, finding in (
        ("Does the order of frames matter", "**gru, "),
        (
            "Costs",
            "**No model is noticeably cheaper than another**: resnet50 needs 261.6 GFLOPs per clip, and a sequence model adds at "
            "most 0.2 %, so accuracy decides. On the Pareto front: gru. The smallest model not to avoid is gru.",
        ),
        ("Errors of gru", "**10 of 100 test clips are wrong.**"),
        ("Ensembles", "**No ensemble is shown to be better than gru alone.**"),
        ("Training", "- All 4 models learned"),
        ("Leaks from training to test", "- **Near-duplicates that are not siblings by name: 1 of 40 test clips.**"),
    ):
        assert f"\n## {title}\n\n{finding}" in report


def test_costs_are_totals_with_the_model_s_own_beside_them(texts):
    report, _ = texts
    header, _, gru, *_ = next(rows for rows in cells(report) if "GFLOPs" in rows[0])
    assert header[2:10] == ["GFLOPs", "own", "ms per clip", "own", "memory MB", "own", "M parameters", "own"]
    assert gru == ["gru", "90.0", "261.83", "0.26", "1,002", "1.5", "455", "2.5", "27.5", "4.00", "yes"]
    assert "(40 ms to decode it, 960 ms for the backbone on cpu (fast))" in report


def test_with_a_small_backbone_the_models_differ_in_cost():
    report, _ = written(backbone=BackboneCost(2_000_000, 256_000_000, 10.0))
    assert "**The models differ in cost**: resnet50 needs 0.3 GFLOPs per clip, and a sequence model adds up to 69.2 %." in report
    assert "On the Pareto front: mean_pool and gru." in report


def test_errors_and_confidence_are_those_of_the_model_to_deploy():
    """The cheaper model, which is not ranked first, misses one whole source and has a threshold."""
    first, other = first_right(4000, 4000), np.arange(4000) >= 8
    models = [
        trained("gru", first, classes=6, parameters=9_000_000, clusters=np.arange(4000) // 8),
        trained("lstm", other, classes=6, parameters=1_000, clusters=np.arange(4000) // 8, threshold=0.5),
    ]
    report, details = written(models, changed(test_clips=4000), backbone=NO_BACKBONE)
    assert "**Deploy lstm**" in report
    assert "## Errors of lstm\n\n**8 of 4,000 test clips are wrong.**" in report
    assert "**Far below the others**: the source of 0000.avi (0 of 8 correct); all others, 100.0 %." in report
    assert "lstm marks answers with a confidence below 50.0 % as unsure." in report
    for title in ("Risk and coverage", "Scores per class", "Accuracy by group"):
        assert f"## {title} of lstm\n" in details


def test_without_an_outlying_group_or_a_threshold_the_report_says_less(texts):
    report, details = texts
    assert "Far below the others" not in report
    assert "gru marks no answer as unsure: a threshold needs 60 correct answers on validation clips." in report
    groups = next(rows for rows in cells(details) if rows[0][0] == "first clip of the group")
    assert len(groups) == 2 + 10
    assert groups[2] == ["0096.avi", "0 of 1", "0.0"]
    levels = next(rows for rows in cells(details) if rows[0][0] == "risk allowed")
    assert levels[2:] == [[f"at most {level} %", "0.0", "0", "", ""] for level in ("0.0", "1.0", "2.0", "5.0")] + [
        ["at most 10.0 %", "100.0", "100", "10.0", "80.0"]
    ]


def test_a_report_of_few_classes_is_short_and_has_no_constant_column(texts):
    report, details = texts
    assert len(report.splitlines()) < 120
    header = cells(report)[0][0]
    assert "top-5 %" not in header  # fewer than 11 classes
    assert "± seeds" not in header
    assert "best epoch" not in header  # the same for all
    assert "top-5 %" in cells(details)[0][0]


def test_a_table_has_as_many_cells_in_every_row_and_only_finite_numbers(texts):
    for text in texts:
        assert not re.search(r"\bnan\b|\binf\b|-0\.0\b", text)
        for rows in cells(text):
            assert {len(row) for row in rows} == {len(rows[0])}
            assert all(re.fullmatch("-+:?", cell) for cell in rows[1])


def test_details_have_every_pair_with_its_interval(texts):
    _, details = texts
    pairs = next(rows for rows in cells(details) if rows[0][:2] == ["a", "b"])
    assert len(pairs) == 2 + 6
    assert pairs[2][:3] == ["gru", "lstm", "+2.0"]
    assert {row[5] for row in pairs[2:]} == {"better", "not shown"}


def test_a_cheaper_model_within_the_margin_is_named_with_its_loss():
    many = [np.arange(4000) < count for count in (3600, 3590)]
    models = [trained(name, right, flops=flops) for name, right, flops in zip(("gru", "lstm"), many, (900, 90), strict=True)]
    report, _ = written(models, changed(test_clips=4000, test_sources=2000), backbone=NO_BACKBONE)
    assert "**Deploy lstm**" in report
    assert "the cheapest model that is shown to be within 2.0 points of the best, gru: it is 0.2 points behind, at most" in report


def test_a_baseline_that_wins_is_deployed_and_the_report_says_so():
    models = [
        trained("gru", first_right(60), classes=6),
        trained("mean_pool", first_right(90), classes=6, flops=10, order_blind=True),
    ]
    report, _ = written(models)
    assert "**Deploy mean_pool**" in report
    assert "**Sequence modelling does not help here.** gru against mean_pool" in report


def test_a_baseline_that_shuffling_hurts_does_not_use_the_order():
    """As middle_frame, which then sees another frame."""
    report, _ = written()
    [finding] = [line for line in report.splitlines() if "when the frames are shuffled**" in line]
    assert finding.startswith("**gru, lstm and transformer lose accuracy")
    report, _ = written(
        [trained("gru", first_right(2), classes=6), trained("mean_pool", first_right(60), classes=6, order_blind=True)]
    )
    assert "**No sequence model is shown to use the order of frames**" in report


def test_a_finding_not_shown_has_the_baseline_that_is_not_beaten():
    """The sequence model beats one baseline by a little, and is not shown to beat another, by more."""
    sources = np.arange(100) // 2
    gru = trained("gru", np.ones(100, dtype=bool), classes=6, clusters=sources)
    close = trained("middle_frame", ~np.isin(np.arange(100), range(0, 24, 2)), classes=6, clusters=sources, order_blind=True)
    [found] = analyses.against_baselines({one.name: one.predictions for one in (gru, close)}, ["middle_frame"])
    better = found.gains["gru"]
    assert better.verdict == "better"
    open_question = replace(better, difference=better.difference + 0.1, p=0.2, interval=Interval(-0.1, 0.5))
    other = analyses.Baseline("mean_pool", {"gru": open_question})
    result = compared([gru, close])
    assert "is not shown.** gru against mean_pool" in headline(result, [found, other], CONTEXT)[1]
    assert "is not shown.** gru against mean_pool" in headline(result, [other, found], CONTEXT)[1]


def test_over_all_folds_leaks_diagnoses_and_times_are_of_the_saved_fold():
    over_all = changed(evaluated_folds=5, fold=2)
    report, details = written(in_folds(5), over_all)
    assert "1 of 40 test clips of fold 2.**" in report
    assert (
        "none diverged, stayed at chance, overfitted or stopped too early in fold 2; the other folds were not diagnosed." in report
    )
    assert "s in total for fold 2 alone, without feature extraction." in details
    clean = {**AUDIT, "near": {**AUDIT["near"], "flagged": 0, "strangers": 0}}
    report, _ = written(in_folds(5), over_all, audit=clean)
    assert "- No siblings, copies or near-duplicates found in fold 2, the only one searched." in report
    assert "test clips of fold" not in written()[0]


def test_the_recall_of_an_audit_that_did_not_compare_every_pair_is_stated():
    _, details = written(audit={**AUDIT, "near": {**AUDIT["near"], "recall": 0.995}})
    assert "The search found 99.5 % of planted copies whose similarity is the threshold." in details
    assert "planted" not in written()[1]


def test_official_lists_that_share_test_clips_are_counted_once_where_clips_are_listed():
    lists = changed(protocol="official", fold=1, evaluated_folds=3, repeated_tests=20)
    report, _ = written(in_folds(3), lists)
    assert "Trained and tested in all 3 official splits: no clip is tested by a model that trained on it." in report
    assert "20 of the test clips are clips that another fold tests, too." in report
    assert "of 80 test clips are wrong in every model" in report
    assert "another fold tests" not in written(in_folds(5), changed(evaluated_folds=5))[0]
    assert "-S evaluation.folds=all` tests every list, on" in written(context=changed(protocol="official"))[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weights": "random"}, "**The backbone is untrained** (`features.weights: random`)"),
        ({"sibling_share": 0.953}, "**The split leaks**: 95.3 % of the test clips share a source video"),
        ({"val_clips": 0}, "**The epoch was chosen on the test clips**"),
        (
            {"split_warnings": ["60 of 60 test clips come from one source (cam_0)."]},
            "**Check the split**: 60 of 60 test clips come",
        ),
        ({"classes_without_test_clips": ("e*",)}, "No test clips, so no results, for: e\\*."),
        ({"duplicated_clips": 7}, "7 clips are byte-for-byte copies"),
        ({"clips_without_group": 7}, "**The names of 7 of 410 clips do not tell their source video**"),
    ],
)
def test_warnings_come_before_the_results(texts, change, sentence):
    report, _ = written(four(val=change.get("val_clips") != 0), changed(**change))
    assert sentence in report
    assert report.index(sentence) < report.index("## Models")
    assert sentence not in texts[0]
    assert "Before you read" not in texts[0]


def test_models_that_learned_nothing_are_not_recommended():
    report, _ = written([trained("gru", first_right(18), classes=6), trained("lstm", first_right(17), classes=6)])
    assert "- **No model is recommended.** The best, gru, has 18.0 % top-1" in report
    assert "**Avoid gru and lstm**: not shown to be better" in report


def test_the_study_stands_beside_ucf50_only(texts):
    report, _ = written(context=changed(dataset="ucf50"))
    assert "| 97.23 (96.2–98.0) |" in report
    assert f"The study's protocol: {study_results.PROTOCOL}" in report
    assert "-7.2" in report
    assert "99.7 % of its test clips share a source video" in report
    assert "Comparison with the study" not in texts[0]


def test_sequence_models_that_the_study_lacks_are_marked(texts):
    assert "Not in the study" not in texts[0]
    own = [trained(name, first_right(right)) for name, right in (("gru", 90), ("gru_attention", 80))]
    models = [*own, trained("mean_pool", first_right(40), order_blind=True)]
    report, _ = written(models, timings={model.name: TIMINGS["gru"] for model in models})
    assert "\nNot in the study: gru_attention.\n" in report


def test_different_devices_are_not_compared(texts):
    _, details = written(timings={**TIMINGS, "gru": Timing(1.0, 9.0, "cpu", 2.5, 16.0)})
    assert "do not compare their times" in details
    assert "do not compare their times" not in texts[1]


@pytest.mark.parametrize("verdict", ["diverged", "at chance", "overfitted", "still improving", "a new one"])
def test_every_training_diagnosis_is_named_with_its_remedy(verdict):
    models = [
        trained(
            "gru",
            first_right(90),
            classes=6,
            val_right=first_right(8, 10),
            health=verdict,
            health_notes=("the loss is high", "more"),
        ),
        *four()[1:],
    ]
    report, details = written(models)
    assert f"- **gru: {verdict}.** The loss is high." in report
    assert f"- **gru: {verdict}.** The loss is high; more." in details
    assert ("Try: " in report) == (verdict in comparison_report.REMEDIES)


def test_calibration_that_failed_is_reported():
    models = [
        trained("gru", first_right(90), classes=6, val_right=first_right(8, 10), temperature=20.0),
        trained("lstm", first_right(88), classes=6, val_right=first_right(10, 10), temperature=None),
        four()[2],
    ]
    report, details = written(models)
    assert "**Not calibrated: lstm.** All validation clips are classified correctly." in report
    assert "**The temperature of gru is at a bound of the search**" in report
    assert "not fitted" in details
    assert "**Not calibrated**: there are no validation clips" in written(four(val=False), changed(val_clips=0))[0]


def test_odd_names_are_safe_in_markdown_and_in_a_terminal():
    odd = ("a|b", "*x*_y_", "<img>", "`c`", "two\n lines", "\x1b[31mred")
    wrong = [
        trained(name, first_right(20), classes=6, class_names=odd, health=odd[0], health_notes=odd) for name in ("gru", "lstm")
    ]
    for text in written(wrong, changed(class_names=odd, classes_without_test_clips=odd, dataset="a|b <img>")):
        assert text.replace("\n", "").isprintable()
        assert not re.search(r"(?<!\\)(<img|`c|\*x\*)", text)


def test_every_line_of_a_table_has_the_same_width():
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
    text = tables.latex(compared(four()), changed(dataset="my_data & more"), TIMINGS)
    assert "my\\_data \\& more, group split" in text
    assert "\\label{tab:actionrec-results}" in text
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 5
    assert {line.count(" & ") for line in rows} == {7}
    assert "gru & \\textbf{90.0} & " in text
    assert "lstm & \\textbf{88.0}" in text
    assert "transformer & 17.0" in text


def test_csv_rows_fit_their_header():
    rows = [dict(zip(tables.CSV_HEADER, row, strict=True)) for row in tables.csv_rows(compared(four()), CONTEXT, TIMINGS)]
    assert [row["model"] for row in rows] == ["gru", "lstm", "mean_pool", "transformer"]
    assert rows[0]["top1_percent"] == "90.00"
    assert rows[0]["val_top1_percent"] == "80.00"
    assert rows[0]["p_against_best"] == ""
    assert [row["tied_with_best"] for row in rows] == ["yes", "yes", "no", "no"]
    assert {row["protocol"] for row in rows} == {"group"}
    assert tables.csv_rows(compared(four(val=False)), CONTEXT, TIMINGS)[0][tables.CSV_HEADER.index("val_top1_percent")] == ""


def test_long_names_lose_their_middle():
    assert shorten("PlayingTheVeryLongGuitar", 12) == "Playin…uitar"
    assert shorten("two\n words", 12) == "two words"
    assert len(shorten("x" * 200, 26)) == 26
