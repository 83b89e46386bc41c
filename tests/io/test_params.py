import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from actionrec.core.errors import ParamsError
from actionrec.features.backbones import FeatureSettings
from actionrec.io import params
from actionrec.io.params import DataSettings

ROOT = Path(__file__).parents[2]


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
class Wanted:
    seed: int
    frames: Frames


GOOD = {"count": "4", "share": "0.5", "kind": "jpeg", "name": "a", "flag": "true", "limit": "null", "sizes": "[1, 2]"}


@pytest.fixture
def read(project):
    """Read params.yaml with these values in its section `frames`, or with this text."""

    def read(text=None, wanted=Wanted, **changes):
        if text is None:
            values = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
            text = "seed: 3\nframes:\n" + "".join(f"  {key}: {value}\n" for key, value in values.items())
        Path("params.yaml").write_text(text, encoding="utf-8")
        return params.read(wanted)

    return read


def test_sections_become_the_declared_settings(read):
    assert read() == Wanted(3, Frames(4, 0.5, "jpeg", "a", True, None, (1, 2)))


def test_sections_that_a_stage_does_not_declare_are_not_looked_into(read):
    assert read("seed: 3\nmodels: 7\nfeatures: {nonsense: 1}\n", wanted=dataclass_of_seed()).seed == 3


def dataclass_of_seed():
    @dataclass(frozen=True)
    class Seed:
        seed: int

    return Seed


@pytest.mark.parametrize(
    ("text", "value"), [("1e-05", 1e-5), ("1e-5", 1e-5), ("1E5", 1e5), ("3", 3.0), (".5", 0.5), ("-0.25", -0.25)]
)
def test_numbers_as_dvc_and_people_write_them(read, text, value):
    share = read(share=text).frames.share
    assert share == value
    assert isinstance(share, float)


def test_whole_numbers_with_a_point_are_the_same_to_this_reader_as_to_dvc(read):
    """DVC finds 16.0 and 16 equal, and reruns nothing: both must mean the same, and be of the same type."""
    pointed, plain = (read(count=count, limit=count, sizes=f"[{count}]").frames for count in ("16.0", "16"))
    assert pointed == plain
    assert [type(value) for value in (pointed.count, pointed.limit, *pointed.sizes)] == [int, int, int]


def test_what_dvc_writes_for_a_small_number_is_a_number(read, project):
    """`dvc exp run -S` writes through ruamel's round-trip dumper."""
    from ruamel.yaml import YAML

    with Path("written.yaml").open("w") as stream:
        YAML().dump({"share": 1e-5}, stream)
    text = Path("written.yaml").read_text()
    assert "1e-05" in text
    assert read(share=text.split(":")[1].strip()).frames.share == 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": "true"}, "frames.count must be a whole number; got True"),
        ({"count": "4.5"}, "frames.count must be a whole number; got 4.5"),
        ({"count": ".inf"}, "frames.count must be a whole number; got inf"),
        ({"count": "four"}, "frames.count must be a whole number; got 'four'"),
        ({"share": "false"}, "frames.share must be a number; got False"),
        ({"share": "'1e-05'"}, "frames.share must be a number; got '1e-05'"),
        ({"kind": "png"}, "frames.kind must be one of jpeg, raw; got 'png'"),
        ({"kind": "1"}, "frames.kind must be one of jpeg, raw; got 1"),
        ({"kind": "[jpeg]"}, "frames.kind must be one of jpeg, raw; got ['jpeg']"),
        ({"name": "50"}, "frames.name must be text; got 50"),
        ({"flag": "1"}, "frames.flag must be true or false; got 1"),
        ({"flag": "yes"}, "frames.flag must be true or false; got 'yes'"),  # YAML 1.2
        ({"limit": "a"}, "frames.limit must be a whole number or null; got 'a'"),
        ({"sizes": "2"}, "frames.sizes must be a list, each item a whole number; got 2"),
        ({"sizes": "[1, true]"}, "frames.sizes must be a list, each item a whole number; got [1, True]"),
        ({"count": None}, "frames.count is missing"),
        ({"count": ""}, "frames.count must be a whole number; got None"),
        ({"count": "0"}, "frames.count must be at least 1; got 0"),
        ({"cuont": "1"}, "frames.cuont is unknown (did you mean count?)"),
        ({"zzz": "1"}, "frames.zzz is unknown (known: count, share, kind, name, flag, limit, sizes)"),
        ({"7": "1"}, "frames.7 is unknown (known: count, share, kind, name, flag, limit, sizes)"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_was_wanted(read, changes, message):
    with pytest.raises(ParamsError) as caught:
        read(**changes)
    assert str(caught.value) == f"params.yaml: {message}"


def test_a_renamed_key_is_named_with_its_new_name(read):
    with pytest.raises(ParamsError) as caught:
        read(size="224")
    assert str(caught.value) == "params.yaml: frames.size is now called frames.resolution. Rename it"


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
        ("seed: 1\n", "frames is missing"),
        ("seed: 1\nframes:\n", "frames must hold keys and values; got None"),
        ("seed: 1\nframes: [1]\n", "frames must hold keys and values; got [1]"),
    ],
)
def test_a_section_that_is_none_is_refused(read, text, message):
    with pytest.raises(ParamsError) as caught:
        read(text)
    assert str(caught.value) == f"params.yaml: {message}"


def test_a_missing_file_says_where_to_run(project):
    with pytest.raises(ParamsError) as caught:
        params.read(Wanted)
    assert str(caught.value) == "params.yaml is missing. Run from the project's root."


@pytest.mark.parametrize("text", ["", "seed", "- seed"])
def test_a_file_without_sections_is_refused(read, text):
    with pytest.raises(ParamsError, match=re.escape("params.yaml: expected sections (seed, data, split, frames, features,")):
        read(text)


@pytest.mark.parametrize(
    "text", ["seed: [1", "seed: 1\nseed: 2", "a: 1\n b: 2", "seed: 1\n---\nseed: 2", "\x00", "a: !!python/name:os.x 1"]
)
def test_yaml_that_does_not_parse_is_one_line(read, text):
    with pytest.raises(ParamsError) as caught:
        read(text)
    assert str(caught.value).startswith("params.yaml is not valid YAML: ")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_utf8_are_refused(project):
    Path("params.yaml").write_bytes(b"seed: \xff\xfe")
    with pytest.raises(ParamsError, match=r"^params\.yaml is not valid YAML: 'utf-8' codec can't decode"):
        params.read(Wanted)


def test_yaml_runs_no_code(read):
    with pytest.raises(ParamsError):
        read("seed: !!python/object/apply:pathlib.Path.touch [ran]\n")
    assert not Path("ran").exists()


@pytest.mark.parametrize("dataset", ["", "a/b", "..", ".hidden", "/etc"])
def test_the_data_set_is_a_folder_right_below_data_raw(dataset):
    with pytest.raises(ValueError, match=r"^dataset must name a folder below data/raw; got"):
        DataSettings(dataset, None)


def test_a_group_that_is_no_regular_expression_is_refused():
    with pytest.raises(ValueError, match=r"group must be a regular expression or null; got '\(' \(missing \)"):
        DataSettings("mine", "(")


def test_the_projects_own_file_is_whole():
    """No section that SECTIONS lacks, and none of SECTIONS missing."""
    assert set(params.load(ROOT / "params.yaml")) == set(params.SECTIONS)


@dataclass(frozen=True)
class Features:
    features: FeatureSettings


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "{backbone: resnet50, weights: '', precision: fp32}",
            "features.weights must be random, a name such as IMAGENET1K_V1, or a path; got an empty text",
        ),
        ("{backbone: resnet50, weights: random, precision: fp16}", "features.precision must be one of fp32, bf16; got 'fp16'"),
    ],
)
def test_features_out_of_range_are_refused(read, section, message):
    with pytest.raises(ParamsError) as caught:
        read(f"features: {section}\n", wanted=Features)
    assert str(caught.value) == f"params.yaml: {message}"


def test_reading_parameters_does_not_wait_for_torch():
    code = "import sys; import actionrec.io.params; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


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
    "billion laughs": (laughs(30), TOO_MANY),
    "billion laughs as a value": (laughs(30) + "frames: *a29\n", TOO_MANY),
    "merge keys": (merges(30), TOO_MANY),
    "a list in itself": ("seed: &a [*a]\n", "is not valid YAML: a value refers to itself"),
    "a mapping in itself": ("seed: &a {b: *a}\n", "is not valid YAML: a value refers to itself"),
    "deep lists": ("seed: " + "[" * 20_000, "is nested too deeply."),
    "deep mappings": ("{a: " * 10_000, "is nested too deeply."),
    "a long file": ("#" * 60_000, "has more than 50,000 characters. Is it the right file?"),
    "5,000 digits": ("seed: " + "9" * 5_000, "is not valid YAML: Exceeds the limit (4300 digits)"),
    "5,000 digits in base 16": ("seed: 0x" + "f" * 5_000, "whole numbers must be below 2**63 in size; got a value of type int"),
    "400 digits": ("seed: " + "9" * 400, "whole numbers must be below 2**63 in size; got 999"),
    "a number of 400 digits as a key": ("? 0x" + "f" * 400 + "\n: 1\n", "whole numbers must be below 2**63 in size; got "),
    "an impossible date": ("seed: 2024-99-99\n", "is not valid YAML: month must be in 1..12"),
    "an impossible time zone": ("seed: 2024-01-01T00:00:00+99:99\n", "is not valid YAML: offset must be a timedelta"),
    "a number that is none": ("seed: !!float abc\n", "is not valid YAML: could not convert string to float"),
    "a list as a key": ("? [a, [b]]\n: 1\n", "is not valid YAML: unhashable type"),
    "code": ("seed: !!python/object/apply:os.system [ls]\n", "is not valid YAML: could not determine a constructor"),
    "a key that upsets a terminal": ('"\\e[31m\\u202e": 1\n', r"\x1b[31m\u202e is unknown"),
}


@pytest.mark.parametrize(("text", "message"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_hostile_document_is_refused_in_a_short_message_and_time(read, text, message):
    begun = time.monotonic()
    with pytest.raises(ParamsError) as caught:
        read(text)
    assert time.monotonic() - begun < 20  # seconds, on a busy machine; references alone would take years
    first, *others = str(caught.value).split("\n")
    assert first.startswith(f"params.yaml {message}" if message.startswith(("is ", "has ")) else f"params.yaml: {message}")
    assert len(first) < 500
    assert others in ([], ["params.yaml: seed is missing", "params.yaml: frames is missing"])


def test_references_to_a_few_values_are_read(read):
    text = "defaults: &some {count: 4, share: 0.5, kind: jpeg, name: a, flag: true, limit: null, sizes: [1]}\nseed: 3\n"
    with pytest.raises(ParamsError, match=r"^params\.yaml: defaults is unknown"):
        read(text + "frames: *some\n")


def test_very_many_problems_are_counted(read):
    with pytest.raises(ParamsError) as caught:
        read("".join(f"k{number}: 1\n" for number in range(500)))
    assert len(str(caught.value).splitlines()) == 30
    assert str(caught.value).endswith(" and 472 more")


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e999"])
def test_a_number_that_is_not_finite_is_refused(read, value):
    with pytest.raises(ParamsError, match=r"^params\.yaml: frames\.share must be a number; got -?(nan|inf)$"):
        read(share=value)


def test_a_value_that_is_long_is_cut_in_the_message(read):
    with pytest.raises(ParamsError) as caught:
        read(count=f"'{'x' * 40_000}'", kind="[" + ", ".join("a" * 9_000) + "]")
    assert all(len(line) < 250 for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "/etc", "a/b", "../raw", "a\\b", "..\\b", " a", "a ", "a\n", "a\tb", "\x1b[31m", "a\x00", "\x7f",
     "\u202eelpmas", "sam\u200bple", "sample\ufe0f", "\udcff", "é" * 128],
)  # fmt: skip
def test_a_data_set_that_is_not_a_plain_folder_name_is_refused(name):
    with pytest.raises(ValueError, match="dataset must name a folder below data/raw; got ") as caught:
        DataSettings(name, None)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["sample", "my clips", "Tänze", "動作", "v1.2", "a-b_c", "ünïcödé (2)"])
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
