import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from fabricate import AUDIT, CONTEXT, trained

from actionrec.evaluation import analyses as found
from actionrec.evaluation import calibration
from actionrec.evaluation.analyses import Baseline, Calibration, ClassScore, Difference, Ensemble, Missed, ModelCost, Order
from actionrec.evaluation.comparison import compare
from actionrec.evaluation.intervals import Interval
from actionrec.evaluation.leak_audit import Audit, Copies, NearDuplicates, NearestTraining
from actionrec.report import analyses, errors, wording

ODD = ["a|b", "*x*_y_", "<img>", "`c`", "two\n lines", "\\", "\x1b[31mred", "x" * 200, "[a](b)", "é|", "\u202egpj.avi", "", "#"]
MODELS = ("gru", "lstm", "transformer")
SOME = Interval(-0.01, 0.2)


def gain(verdict):
    points, p = {"better": (0.123, 0.0001), "tie": (0.04, 0.3), "worse": (-0.2, 0.01)}[verdict]
    return Difference(points, SOME, p)


def baseline(name, *verdicts):
    return Baseline(name, 0.5, Interval(0.4, 0.6), 2049, dict(zip(MODELS, map(gain, verdicts), strict=True)))


def orders(*verdicts):
    changed = {"shuffled": 0.5, "reversed": 0.4, "one_frame": 0.3}
    return [Order(name, 0.9, changed, gain(verdict)) for name, verdict in zip(MODELS, verdicts, strict=True)]


def calibrated(model="gru", error=0.1, after=0.05, temperature=1.5):
    labels = np.arange(100) % 4
    bins = calibration.reliability(np.full((100, 4), 0.25), labels)
    return Calibration(model, temperature, error, after, bins, bins)


def ensemble(name, members, verdict):
    return Ensemble(name, members, 0.9, Interval(0.8, 0.95), gain(verdict))


def cost(model, on_front, flops=10_000_000):
    return ModelCost(model, 0.9, 2_000_000, flops, 1.234, 15.04, on_front)


def score(name, f1=0.5, clips=4):
    return ClassScore(name, clips, 0.5, 0.25, f1)


def audited(**changes):
    return {**AUDIT, "siblings": 0, "copied": 0, "copies": [], **changes}


def near(**changes):
    return {**AUDIT["near"], **changes}


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    skills = zip(MODELS, (0.9, 0.8, 0.1), (4_000_000, 5_000_000, 9_000_000), strict=True)
    return [
        trained(name, rng.random(60) < skill, val_right=rng.random(20) < skill, classes=6, parameters=parameters)
        for name, skill, parameters in skills
    ]


@pytest.fixture(scope="module")
def comparison(models):
    return compare(models)


@pytest.fixture(scope="module")
def real_sections(models, comparison):
    """Every section, from the analyses themselves."""
    rng = np.random.default_rng(1)
    answered = {model.name: model.predictions for model in models}
    simple = {
        name: trained(name, rng.random(60) < 0.5, val_right=np.ones(20), classes=6).predictions for name in ("mean", "middle")
    }
    first = comparison.leaderboard[0].name
    return [
        analyses.baselines(found.against_baselines(answered, simple, {"mean": 12_294, "middle": 12_294}), comparison, CONTEXT),
        analyses.order(found.order_of_frames(answered), CONTEXT),
        analyses.health(models),
        analyses.calibration(found.calibrations(models), CONTEXT),
        analyses.ensembles(found.combined(answered, first), comparison, CONTEXT),
        analyses.cost(found.costs(models, dict.fromkeys(MODELS, (1.5, 20.0))), CONTEXT),
        errors.class_scores(found.class_scores(models[0].predictions, models[0].class_names), "gru", CONTEXT),
        errors.missed(found.missed_by_all(answered, models[0].class_names), CONTEXT),
        errors.audit(AUDIT, CONTEXT),
    ]


def odd_sections(comparison):
    """Sections in which every name is odd."""
    names = [*ODD, *(f"plain{place}" for place in range(30))]
    strange = [NearestTraining(name, name, 0.99, False, False) for name in ODD]
    duplicates = NearDuplicates(40, 0.98, 0, len(strange), len(strange), 0.3, tuple(strange))
    record = Audit(9, 40, 0, 0.0, 2, 0.05, (Copies(tuple(ODD), ("train",) * len(ODD)),), duplicates)
    return [
        analyses.baselines([baseline(name, "tie", "better", "worse") for name in ODD], comparison, CONTEXT),
        analyses.order([replace(orders("better", "tie", "worse")[0], model=name) for name in ODD], CONTEXT),
        analyses.health([trained(name, np.ones(8), health=name, health_notes=ODD) for name in ODD]),
        analyses.calibration([calibrated(name, after=0.2, temperature=20.0) for name in ODD], CONTEXT),
        analyses.ensembles([ensemble(name, MODELS, "better") for name in ODD], comparison, CONTEXT),
        analyses.cost([cost(name, True) for name in ODD], CONTEXT),
        errors.class_scores([score(name) for name in ODD], ODD[0], CONTEXT),
        errors.missed([Missed(name, name, dict.fromkeys(ODD, name)) for name in names], CONTEXT),
        errors.audit(json.loads(json.dumps(asdict(record))), CONTEXT),
    ]


def tables(text):
    """Cells of each row of each table."""
    found = []
    for block in text.split("\n\n"):
        if block.startswith("| "):
            found.append([[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()])
    return found


def test_the_protocol_stands_beside_every_table(real_sections, comparison):
    for text in [*real_sections, *odd_sections(comparison)]:
        assert text.startswith("## ")
        assert text.count("\n## ") == 0
        assert ("Protocol: sample, group split, fold 0 of 5, 100 test clips." in text) == ("| ---" in text)


def test_all_rows_of_a_table_have_the_same_cells(real_sections, comparison):
    texts = [*real_sections, *odd_sections(comparison)]
    found = [rows for text in texts for rows in tables(text)]
    assert len(found) >= 18
    for rows in found:
        assert {len(row) for row in rows} == {len(rows[0])}
        assert all(re.fullmatch("-+:?", cell) for cell in rows[1])


def test_numbers_are_finite_and_signed_zeros_are_not_negative(real_sections):
    text = "\n".join(real_sections)
    assert not re.search(r"\bnan\b|\binf\b|-0\.0\b", text)
    assert wording.points(-0.0004) == "+0.0"
    assert wording.points(-0.0006) == "-0.1"


def test_odd_names_are_safe_in_markdown_and_in_a_terminal(comparison):
    for text in odd_sections(comparison):
        assert text.replace("\n", "").isprintable()
        assert not re.search(r"(?<!\\)(<img|`c|\*x\*|\[a)", text)
    assert len(wording.clean("x" * 200)) == 60
    assert wording.clean("a|b\x1b\n c") == r"a\|b\\x1b c"
    assert wording.clean("Billards_g01") == "Billards_g01"


@pytest.mark.parametrize(
    ("mean_pool", "middle_frame", "wanted", "unwanted"),
    [
        (
            ("better", "better", "tie"),
            ("better", "tie", "tie"),
            [
                "**Better than every baseline**: gru.",
                "Not shown to be better than every baseline: lstm and transformer.",
            ],
            ["is worse than"],
        ),
        (
            ("tie", "tie", "worse"),
            ("better", "better", "worse"),
            [
                "**No model is shown to be better than every baseline.**",
                "**transformer is worse than mean_pool and middle_frame**",
            ],
            ["**Better than", "Not shown to be"],
        ),
        (
            ("better",) * 3,
            ("better",) * 3,
            ["**Better than every baseline**: gru, lstm and transformer."],
            ["ot shown to be", "is worse than"],
        ),
    ],
)
def test_a_sentence_says_which_models_beat_the_baselines(comparison, mean_pool, middle_frame, wanted, unwanted):
    rows = [baseline("mean_pool", *mean_pool), baseline("middle_frame", *middle_frame)]
    text = analyses.baselines(rows, comparison, CONTEXT)
    for sentence in wanted:
        assert sentence in text
    for sentence in unwanted:
        assert sentence not in text
    assert [row[0] for row in tables(text)[0][2:]] == ["mean_pool", "middle_frame"]
    assert [row[:2] for row in tables(text)[1][2:4]] == [["gru", "mean_pool"], ["gru", "middle_frame"]]
    assert len(tables(text)[1]) == 2 + 6
    assert wording.difference_cells(gain("better")) == ["+12.3", "-1.0 to +20.0", "<0.001", "better"]


def test_one_baseline_is_called_by_its_name(comparison):
    text = analyses.baselines([baseline("mean_pool", "tie", "tie", "tie")], comparison, CONTEXT)
    assert "**No model is shown to be better than mean_pool.**" in text


def test_a_sentence_says_which_models_use_the_order():
    text = analyses.order(orders("better", "tie", "worse"), CONTEXT)
    assert "**Use the order of frames: gru.** Not shown: lstm and transformer." in text
    assert [row[-1] for row in tables(text)[0][2:]] == ["uses the order", "not shown", "better when shuffled"]
    assert tables(text)[0][2][1:5] == ["90.0", "50.0", "40.0", "30.0"]
    assert "Not shown:" not in analyses.order(orders("better", "better", "better"), CONTEXT)
    text = analyses.order(orders("tie", "tie", "worse"), CONTEXT)
    assert "**No model is shown to use the order of frames**" in text


def test_tables_say_whether_they_are_about_the_saved_run_or_the_mean(comparison):
    several = replace(CONTEXT, seeds=5)
    assert "means over 5 training runs" in analyses.baselines([baseline("m", "tie", "tie", "tie")], comparison, several)
    for text in (
        analyses.order(orders("tie", "tie", "tie"), several),
        analyses.calibration([calibrated()], several),
        analyses.ensembles([ensemble("all", MODELS, "tie")], comparison, several),
        analyses.cost([cost("gru", True)], several),
        errors.class_scores([score("a")], "gru", several),
        errors.missed([Missed("a", "b", {"gru": "c"})], several),
    ):
        assert "from each model's saved run, one of 5." in text
    assert "saved run" not in analyses.order(orders("tie", "tie", "tie"), CONTEXT)


@pytest.mark.parametrize("tests", [1, 3, 14])
@pytest.mark.parametrize("sources", [2, 5, 6, 7, 8, 9, 10, 11, 15])
def test_too_few_sources_are_reported_exactly_where_no_difference_can_be_found(tests, sources):
    clusters = np.repeat(np.arange(sources), 3)
    best_case = {str(place): (np.ones(len(clusters)), np.zeros(len(clusters))) for place in range(tests)}
    shown = any(one.is_real for one in found.differences(best_case, clusters).values())
    note = wording.powerless(tests, replace(CONTEXT, test_sources=sources))
    assert bool(note) != shown
    assert not note or f"the test clips come from {sources}" in note


def test_sections_warn_of_too_few_sources(comparison):
    few = replace(CONTEXT, test_sources=5)
    for text in (
        analyses.baselines([baseline("mean_pool", "tie", "tie", "tie")], comparison, few),
        analyses.order(orders("tie", "tie", "tie"), few),
        analyses.ensembles([ensemble("all", MODELS, "tie")], comparison, few),
    ):
        assert "**Too few source videos to find a difference**" in text


def test_training_diagnosis_is_one_line_if_all_models_learned():
    good = trained("gru", np.ones(8))
    assert analyses.health([good, good]).splitlines()[2:] == [
        "All 2 models learned: none diverged, stayed at chance, overfitted or stopped too early."
    ]
    bad = trained("transformer", np.ones(8), health="at chance", health_notes=("loss at ln 50 = 3.91", "same answer"))
    text = analyses.health([good, bad])
    assert "- gru: learned. Best held-out top-1 90 %." in text
    assert "- **transformer: at chance.** Loss at ln 50 = 3.91; same answer. Try: another `learning_rate`" in text
    assert "its rank reflects its training settings" in text


@pytest.mark.parametrize("verdict", ["diverged", "at chance", "overfitted", "still improving", "a new one"])
def test_every_verdict_is_named(verdict):
    text = analyses.health([trained("gru", np.ones(8), health=verdict, health_notes=())])
    assert f"- **gru: {verdict}.**" in text
    assert ("Try: " in text) == (verdict in analyses.REMEDIES)


def test_a_temperature_that_was_not_fitted_has_no_number():
    text = analyses.calibration([calibrated("gru"), calibrated("lstm", temperature=None)], CONTEXT)
    assert "**Not calibrated: lstm.** All validation clips are classified correctly" in text
    row = next(line for line in text.splitlines() if "lstm" in line)
    assert row.rstrip(" |").endswith("not fitted")


def test_calibration_reports_temperatures_that_are_no_estimates():
    text = analyses.calibration([calibrated("gru"), calibrated("lstm", 0.02, 0.04, 0.05)], CONTEXT)
    assert tables(text)[0][2] == ["gru", "10.0", "5.0", tables(text)[0][2][3], "1.50"]
    assert "fitted on 10 validation clips." in text
    assert "**The temperature is at a bound of the search (0.05 to 20) for lstm**" in text
    assert "worse for lstm." in text
    text = analyses.calibration([calibrated(temperature=1.0, after=0.1)], replace(CONTEXT, val_clips=0))
    assert "There are no validation clips, so no temperature was fitted." in text
    assert "at a bound" not in text


@pytest.mark.parametrize(("clips", "sharpness"), [(30, 1.0), (100, 3.0), (400, 3.0), (100, 8.0)])
def test_error_by_chance_is_what_right_confidence_shows(clips, sharpness):
    rng = np.random.default_rng(0)
    shown, expected = [], []
    for _ in range(200):
        probabilities = calibration.softmax(rng.normal(0, sharpness, (clips, 5)))
        labels = (probabilities.cumsum(axis=1) < rng.random((clips, 1))).sum(axis=1).clip(max=4)
        shown.append(calibration.expected_calibration_error(probabilities, labels))
        expected.append(analyses.error_by_chance(calibration.reliability(probabilities, labels)))
    assert np.mean(expected) == pytest.approx(np.mean(shown), rel=0.1)


def test_a_certain_and_correct_model_has_no_error_by_chance():
    bins = calibration.reliability(np.eye(4), np.arange(4))
    assert analyses.error_by_chance(bins) == pytest.approx(0.0)


def test_ensembles_count_all_their_members(comparison):
    rows = [ensemble("all", MODELS, "tie"), ensemble("best pair", ("gru", "lstm"), "better")]
    text = analyses.ensembles(rows, comparison, CONTEXT)
    assert [row[1:3] for row in tables(text)[0][2:]] == [["all models", "18,000,000"], ["gru and lstm", "9,000,000"]]
    assert "**Better than gru alone: best pair.**" in text
    assert "highest validation top-1" in text
    text = analyses.ensembles(rows[:1], comparison, replace(CONTEXT, val_clips=0))
    assert "**No ensemble is shown to be better than gru alone.**" in text
    assert "no validation clips to choose" in text


def test_cost_names_the_front_in_order_of_operations():
    text = analyses.cost([cost("gru", True, 30_000_000), cost("lstm", False), cost("simple_rnn", True, 2_500_000)], CONTEXT)
    assert "**On the Pareto front: simple_rnn and gru**, from the fewest" in text
    assert tables(text)[0][2] == ["gru", "90.0", "30.0", "1.23", "15.0", "2,000,000", "45.0", "yes"]
    assert tables(text)[0][3][-1] == ""
    assert "timings vary from run to run" in text
    assert "**On the Pareto front: gru**. For" in analyses.cost([cost("gru", True)], CONTEXT)


@pytest.mark.parametrize(("classes", "rows"), [(1, 1), (20, 20), (21, 10), (101, 10)])
def test_many_classes_are_cut_to_the_worst(classes, rows):
    scores = [score(f"class{place}", f1=1 - place / classes, clips=1 + place) for place in range(classes)]
    text = errors.class_scores(scores, "gru", CONTEXT)
    assert text.startswith("## Scores per class of gru\n")
    body = tables(text)[0][2:]
    assert [row[0] for row in body] == [f"class{place}" for place in range(classes - 1, classes - 1 - rows, -1)]
    assert ("[per_class.csv](per_class.csv)" in text) == (rows < classes)
    assert ("it depends on a single clip" in text) == (rows == classes)


def test_missed_clips_are_named_and_counted():
    answers = {"gru": "c", "lstm": "b", "transformer": "c"}
    rows = [Missed(f"a/{place:02}.avi", "a", answers) for place in range(25)]
    text = errors.missed([*rows, Missed("z.avi", "a", dict.fromkeys(MODELS, "d"))], CONTEXT)
    body = tables(text)[0][2:]
    assert len(body) == 20
    assert body[0] == ["a/00.avi", "a", "c", "2 of 3"]
    assert "And 6 more." in text
    assert "26 of 100 test clips, 26.0 %. All models agree on 1 of them" in text
    assert "(../plots/missed_by_all.png)" in text
    assert "And " not in errors.missed(rows[:20], CONTEXT)


def test_equal_votes_go_to_the_first_name():
    rows = [Missed("a", "a", {"gru": "c", "lstm": "b"}), Missed("a", "a", {"lstm": "b", "gru": "c"})]
    assert {tuple(row[2:]) for row in tables(errors.missed(rows, CONTEXT))[0][2:]} == {("b", "1 of 2")}


def test_without_missed_clips_there_is_no_table():
    text = errors.missed([], CONTEXT)
    assert "None: at least one model classifies each test clip correctly." in text
    assert "|" not in text
    assert "png" not in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"siblings": 39, "sibling_share": 0.975}, "**Siblings in training: 39 of 40 test clips.**"),
        ({"copied": 2, "copied_share": 0.05}, "**Copies in training: 2 of 40 test clips.**"),
        ({"near": near()}, "**Near-duplicates that are not siblings by name: 1 of 40 test clips.**"),
        ({"near": near(flagged=0, strangers=0, threshold=0.995)}, "No siblings, copies or near-duplicates found."),
        (
            {"near": near(flagged=0, strangers=0, threshold=0.995)},
            "Most similar pair: a/v_1.avi and a/v_2.avi in training, 0.991.",
        ),
        ({"near": None}, "No siblings or copies found."),
        ({"near": None}, "Near-duplicates were not searched"),
        ({"near": near(unrelated_pairs=0)}, "its threshold is a default."),
        ({"copies": [{"clips": ["a.avi", "b.avi"], "subsets": ["test", "val"]}]}, "a.avi (test), b.avi (val)"),
    ],
)
def test_audit_states_its_findings(changes, sentence):
    assert sentence in errors.audit(audited(**changes), CONTEXT)


def test_audit_lists_only_flagged_pairs_and_their_relation():
    pairs = [
        {"test": f"t{place}", "train": "r", "similarity": 0.999 - place / 1000, "same_class": place < 2, "sibling": place < 1}
        for place in range(20)
    ]
    text = errors.audit(audited(near=near(top=pairs, threshold=0.9955, flagged=4, strangers=3)), CONTEXT)
    assert [row[-1] for row in tables(text)[1][2:]] == ["siblings", "same class", "different classes", "different classes"]
    text = errors.audit(audited(near=near(top=pairs, threshold=0.9, flagged=33)), CONTEXT)
    assert "And 13 more." in text


def test_audit_states_its_limits():
    text = errors.audit(audited(), replace(CONTEXT, weights="random", clips_without_group=7))
    assert "**The backbone is untrained**" in text
    assert "The names of 7 clips do not tell their source video" in text
    plain = errors.audit(audited(), CONTEXT)
    assert "untrained" not in plain
    assert "The search can miss leaks." in plain
