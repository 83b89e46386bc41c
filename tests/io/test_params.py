import time
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Literal

import pytest

from actionrec.core.errors import ParamsError
from actionrec.features.backbones import FeatureSettings
from actionrec.io import params
from actionrec.io.params import DataSettings

ROOT = Path(__file__).parents[2]
SECTIONS = "seed, data, split, frames, features, finetune, train, model, models, evaluation, compare"


@dataclass(frozen=True)
class Frames:
    count: int
    share: float
    kind: Literal["jpeg", "raw"]
    name: str = "unused default"
    flag: bool = False
    limit: int | None = None
    sizes: Sequence[int] = ()

    def __post_init__(self):
        if self.count < 1:
            raise ValueError(f"count must be at least 1; got {self.count}")


@dataclass(frozen=True)
class Params:
    seed: int
    frames: Frames


GOOD = {"count": "4", "share": "0.5", "kind": "jpeg", "name": "a", "flag": "true", "limit": "null", "sizes": "[1, 2]"}


@pytest.fixture
def read(project):
    """Read params.yaml with these values in its section `frames`, or with this text."""

    def read(text=None, settings=Params, **changes):
        if text is None:
            values = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
            text = "seed: 3\nframes:\n" + "".join(f"  {key}: {value}\n" for key, value in values.items())
        Path("params.yaml").write_text(text, encoding="utf-8")
        return params.read(settings)

    return read


def test_sections_become_the_declared_settings(read):
    assert read() == Params(3, Frames(4, 0.5, "jpeg", "a", True, None, (1, 2)))


def test_sections_that_a_stage_does_not_declare_are_not_checked(read):
    assert read("seed: 3\nmodels: 7\nfeatures: {nonsense: 1}\n", settings=make_dataclass("Seed", [("seed", int)])).seed == 3


@pytest.mark.parametrize(("text", "value"), [("1e-05", 1e-5), ("1E5", 1e5), ("3", 3.0), (".5", 0.5), ("-0.25", -0.25)])
def test_numbers_as_dvc_and_people_write_them(read, text, value):
    share = read(share=text).frames.share
    assert share == value
    assert isinstance(share, float)


def test_whole_numbers_with_a_point_are_the_same_to_this_reader_as_to_dvc(read):
    """DVC finds 16.0 and 16 equal, and reruns nothing: both must mean the same, and be of the same type."""
    pointed, plain = (read(count=count, limit=count, sizes=f"[{count}]").frames for count in ("16.0", "16"))
    assert pointed == plain
    assert [type(value) for value in (pointed.count, pointed.limit, *pointed.sizes)] == [int, int, int]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("count", "true", "must be a whole number; got True"),
        ("count", "4.5", "must be a whole number; got 4.5"),
        ("count", ".inf", "must be a whole number; got inf"),
        ("count", "four", "must be a whole number; got 'four'"),
        ("count", "", "must be a whole number; got None"),
        ("count", "0", "must be at least 1; got 0"),
        ("count", None, "is missing"),
        ("share", "false", "must be a number; got False"),
        ("share", "'1e-05'", "must be a number; got '1e-05'"),
        ("share", ".nan", "must be a number; got nan"),
        ("share", "-.inf", "must be a number; got -inf"),
        ("kind", "png", "must be one of jpeg, raw; got 'png'"),
        ("kind", "[jpeg]", "must be one of jpeg, raw; got ['jpeg']"),
        ("name", "50", "must be text; got 50"),
        ("flag", "1", "must be true or false; got 1"),
        ("flag", "yes", "must be true or false; got 'yes'"),  # YAML 1.2
        ("limit", "a", "must be a whole number or null; got 'a'"),
        ("sizes", "2", "must be a list, each item a whole number; got 2"),
        ("sizes", "[1, true]", "must be a list, each item a whole number; got [1, True]"),
        ("cuont", "1", "is unknown (did you mean count?)"),
        ("7", "1", "is unknown (known: count, share, kind, name, flag, limit, sizes)"),
        ("size", "224", "is now called frames.resolution. Rename it"),
    ],
)
def test_a_wrong_key_or_value_is_reported(read, key, value, message):
    with pytest.raises(ParamsError) as caught:
        read(**{key: value})
    assert str(caught.value) == f"params.yaml: frames.{key} {message}"


def test_all_problems_are_told_at_once(read):
    with pytest.raises(ParamsError) as caught:
        read("sead: 1\nframes: {count: 1.5, kind: gif, shere: 0.1, flag: true, name: a, limit: 1, sizes: []}\nmodel: {}\n")
    assert str(caught.value).split("\n") == [
        "params.yaml: sead is unknown (did you mean seed?)",
        "params.yaml: seed is missing",
        "params.yaml: frames.shere is unknown (did you mean share?)",
        "params.yaml: frames.count must be a whole number; got 1.5",
        "params.yaml: frames.share is missing",
        "params.yaml: frames.kind must be one of jpeg, raw; got 'gif'",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\n", "params.yaml: frames is missing"),
        ("seed: 1\nframes:\n", "params.yaml: frames must hold keys and values; got None"),
        ("seed: 1\nframes: [1]\n", "params.yaml: frames must hold keys and values; got [1]"),
        ("", f"params.yaml: expected sections ({SECTIONS}), got NoneType"),
        ("- seed", f"params.yaml: expected sections ({SECTIONS}), got list"),
    ],
)
def test_missing_sections_are_reported(read, text, message):
    with pytest.raises(ParamsError) as caught:
        read(text)
    assert str(caught.value) == message


def test_a_missing_file_and_a_file_in_another_encoding_are_reported(project):
    with pytest.raises(ParamsError) as caught:
        params.read(Params)
    assert str(caught.value) == "params.yaml is missing. Run from the project's root."
    Path("params.yaml").write_bytes(b"seed: \xff\xfe")
    with pytest.raises(ParamsError, match=r"^params\.yaml is not valid YAML: 'utf-8' codec can't decode"):
        params.read(Params)


def test_the_projects_own_file_is_whole():
    """No section that SECTIONS lacks, and none of SECTIONS missing."""
    assert set(params.load(ROOT / "params.yaml")) == set(params.SECTIONS)


def test_features_without_weights_are_rejected():
    with pytest.raises(ValueError, match=r"^weights must be random, a name such as IMAGENET1K_V1, or a path; got an empty text$"):
        FeatureSettings("resnet50", "", "fp32")


@pytest.mark.parametrize(
    ("streams", "problem"),
    [
        ("[flow]", "features.streams must be a list, each item one of rgb, diff; got ['flow']"),
        ("rgb", "features.streams must be a list, each item one of rgb, diff; got 'rgb'"),
        ("[]", "features.streams must name at least one stream, and each only once; got []"),
        ("[rgb, rgb]", "features.streams must name at least one stream, and each only once; got ['rgb', 'rgb']"),
    ],
)
def test_streams_that_are_unknown_missing_or_named_twice_are_reported(read, streams, problem):
    section = make_dataclass("Section", [("features", FeatureSettings)])
    text = "features: {{backbone: resnet18, weights: random, precision: fp32, streams: {}}}\n"
    assert read(text.format("[diff, rgb]"), settings=section).features.streams == ("diff", "rgb")
    with pytest.raises(ParamsError) as caught:
        read(text.format(streams), settings=section)
    assert str(caught.value) == f"params.yaml: {problem}"


def laughs(levels, width=9):
    """A billion laughs: each line refers to the one before it several times."""
    first = "a0: &a0 [x]\n"
    return first + "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]\n" for level in range(1, levels))


def merges(levels, width=9):
    """The same by merge keys, which a reader copies."""
    first = "m0: &m0 {k: 1}\n"
    lines = (f"m{level}: &m{level} {{<<: [{', '.join([f'*m{level - 1}'] * width)}]}}\n" for level in range(1, levels))
    return first + "".join(lines)


TOO_MANY = "is not valid YAML: its references stand for more than 10,000 values"
DOCUMENTS = {
    "syntax": ("seed: [1", "is not valid YAML: while parsing"),
    "a duplicate key": ("seed: 1\nseed: 2", "is not valid YAML: while constructing a mapping"),
    "two documents": ("seed: 1\n---\nseed: 2", "is not valid YAML: expected a single document"),
    "billion laughs": (laughs(30) + "frames: *a29\n", TOO_MANY),
    "merge keys": (merges(30), TOO_MANY),
    "a list in itself": ("seed: &a [*a]\n", "is not valid YAML: a value refers to itself"),
    "a mapping in itself": ("seed: &a {b: *a}\n", "is not valid YAML: a value refers to itself"),
    "deep lists": ("seed: " + "[" * 2_000, "is nested too deeply."),
    "a long file": ("#" * 60_000, "has more than 50,000 characters. Is it the right file?"),
    "5,000 digits": ("seed: " + "9" * 5_000, "is not valid YAML: Exceeds the limit (4300 digits)"),
    "5,000 digits in base 16": ("seed: 0x" + "f" * 5_000, "whole numbers must be below 2**63 in size; got a value of type int"),
    "a number of 400 digits as a key": ("? 0x" + "f" * 400 + "\n: 1\n", "whole numbers must be below 2**63 in size; got "),
    "a list of large numbers": ("seed: [" + "9" * 400 + "]", "whole numbers must be below 2**63 in size; got 999"),
    "an impossible date": ("seed: 2024-99-99\n", "is not valid YAML: month must be in 1..12"),
    "not a number": ("seed: !!float abc\n", "is not valid YAML: could not convert string to float"),
    "a list as a key": ("? [a, [b]]\n: 1\n", "is not valid YAML: unhashable type"),
    "code": ("seed: !!python/object/apply:pathlib.Path.touch [ran]\n", "is not valid YAML: could not determine a constructor"),
    "a key that changes a terminal": ('"\\e[31m\\u202e": 1\n', r"\x1b[31m\u202e is unknown"),
}


@pytest.mark.parametrize(("text", "message"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_hostile_document_is_rejected_in_a_short_message_and_time(read, text, message):
    start = time.process_time()
    with pytest.raises(ParamsError) as caught:
        read(text)
    assert time.process_time() - start < 20  # seconds; references alone would take years
    first, *others = str(caught.value).split("\n")
    assert first.startswith(f"params.yaml {message}" if message.startswith(("is ", "has ")) else f"params.yaml: {message}")
    assert len(first) < 500
    assert others in ([], ["params.yaml: seed is missing", "params.yaml: frames is missing"])
    assert not Path("ran").exists()


def test_references_to_a_few_values_are_read(read):
    text = "defaults: &some {count: 4, share: 0.5, kind: jpeg, name: a, flag: true, limit: null, sizes: [1]}\nseed: 3\n"
    with pytest.raises(ParamsError, match=r"^params\.yaml: defaults is unknown"):
        read(text + "frames: *some\n")


def test_very_many_problems_are_counted(read):
    with pytest.raises(ParamsError) as caught:
        read("".join(f"k{number}: 1\n" for number in range(500)))
    assert len(str(caught.value).splitlines()) == 50
    assert str(caught.value).endswith(" and 452 more")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        ".hidden",
        "/etc",
        "a/b",
        "a\\b",
        " a",
        "a ",
        "a\n",
        "\x1b[31m",
        "\u202eelpmas",
        "sam\u200bple",
        "\udcff",
        "é" * 128,
    ],
)
def test_a_data_set_that_is_not_a_plain_folder_name_is_rejected(name):
    with pytest.raises(ValueError, match="dataset must name a folder below data/raw; got ") as caught:
        DataSettings(name, None)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["my clips", "動作", "v1.2", "ünïcödé (2)"])
def test_a_folder_name_in_any_script_is_a_data_set(name):
    assert DataSettings(name, None).dataset == name


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing )"),
        ("(a" * 3_000, "it has 6,000 characters, more than 1,000"),
        ("(" * 499 + ")" * 499, "it is nested too deeply"),
        ("a{99999999999999999999}", ""),
    ],
)
def test_a_group_that_is_not_a_regular_expression_is_refused(pattern, reason):
    with pytest.raises(ValueError, match="group must be a regular expression or null; got ") as caught:
        DataSettings("sample", pattern)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400
