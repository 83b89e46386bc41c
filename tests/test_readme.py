"""README.md, CONTRIBUTING.md and docs/: their commands parse, and what they name exists."""

import importlib.util
import re
import shlex
import shutil
import sys
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from dvc.cli.parser import get_main_parser
from dvc.exceptions import DvcException
from dvc.repo import Repo
from projects import run
from ruamel.yaml import YAML

from actionrec import __main__ as command_line
from actionrec.core import entry
from actionrec.models import MODELS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}

OTHER_PROGRAMS = {  # of which nothing more is checked
    *(
        "apt",
        "brew",
        "cat",
        "cd",
        "curl",
        "export",
        "for",
        "git",
        "grep",
        "gto",
        "ln",
        "mkdir",
        "pre-commit",
        "python3",
        "ray",
        "sha256sum",
    ),
    *(".", ".ci/run", "python", "uvx"),
}


def words_of(line: str) -> list[list[str]]:
    """The words of each simple command in a shell line, without leading assignments and without redirections."""
    commands: list[list[str]] = [[]]
    for before, word in pairwise(["", *shlex.split(line, comments=True)]):
        if word in ("&&", "|"):
            commands.append([])
        elif ">" not in (before, word) and (commands[-1] or not re.match(r"[A-Z_]+=", word)):
            commands[-1].append(word)
    return [words for words in commands if words]


def block_commands(text: str) -> list[str]:
    """Command lines of a page's `console` and `sh` blocks."""
    lines = []
    for kind, block in re.findall(r"^```(console|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        block = block.replace("\\\n", " ")
        lines += block.splitlines() if kind == "sh" else re.findall(r"^\w*\$ +(.*)", block, re.MULTILINE)
    return [line for line in lines if line.strip()]


def inline_commands(text: str) -> list[str]:
    """Whole commands in a page's inline code; those with placeholders are left out."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    codes = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]
    ours = re.compile(r"(python -m|actionrec|make|dvc|pip|pytest) [a-z-]")
    return [code for code in codes if ours.match(code) and not re.search(r"<|\.\.\.", code)]


COMMANDS = sorted(
    {
        (name, shlex.join(words))
        for name, text in TEXTS.items()
        for line in block_commands(text) + inline_commands(text)
        for words in words_of(line)
    }
)


@pytest.fixture(scope="module")
def pipeline():
    return Repo(str(ROOT)).index


@pytest.fixture(scope="module")
def outputs(pipeline):
    return [str(Path(output.fs_path).relative_to(ROOT)) for output in pipeline.outs]


@pytest.fixture(scope="module")
def stages(pipeline):
    names = {stage.name for stage in pipeline.stages}
    return names | {name.split("@")[0] for name in names}


@contextmanager
def parsing(command):
    """A parser that gives up fails the test; one that prints its help does not."""
    try:
        yield
    except SystemExit as end:
        if end.code:
            pytest.fail(f"{command}: does not parse")
    except DvcException as error:
        pytest.fail(f"{command}: {error}")


def check_actionrec(arguments, monkeypatch):
    monkeypatch.setattr(entry, "run", lambda *_, **__: None)
    monkeypatch.setattr(sys, "argv", ["actionrec", *arguments])
    command_line.main()


def check_dvc(arguments, stages, outputs):
    if arguments[0] == "artifacts":  # get <repository> <name>
        assert arguments[3] in {"best", *MODELS}
    parsed = get_main_parser().parse_args(arguments)
    for assignment in getattr(parsed, "set_param", None) or []:
        section = YAML(typ="safe").load(ROOT / "params.yaml")
        for key in assignment.split("=")[0].split("."):
            assert key in section, f"params.yaml has no key {assignment.split('=')[0]}"
            section = section[key]
    if arguments[0] == "repro" or arguments[:2] == ["exp", "run"]:
        assert set(parsed.targets or []) <= stages
    if arguments[0] in ("pull", "push"):
        assert set(parsed.targets) <= set(outputs)


def check_make(arguments):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in arguments if "=" not in word} <= set(targets)


def check_files(arguments):
    """Files after -r, and tests, exist."""
    files = [file for option, file in pairwise(arguments) if option == "-r" and file != "/dev/stdin"]
    files += [word for word in arguments if word.startswith("tests/")]
    assert [file for file in files if not (ROOT / file).exists()] == []


def check_script(file, arguments):
    """The options that a script is given are in its source."""
    source = (ROOT / file).read_text()
    assert [word for word in arguments if word.startswith("--") and f'"{word}"' not in source] == []


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {command}" for page, command in COMMANDS])
def test_a_command_of_the_docs_parses(page, command, monkeypatch, stages, outputs):
    with parsing(command):
        match shlex.split(command):
            case ["python", "-m", "actionrec", *arguments] | ["actionrec", *arguments]:
                check_actionrec(arguments or ["--help"], monkeypatch)
            case ["python", "-m", module, *arguments]:
                check_script(f"{module.replace('.', '/')}.py", arguments)
            case ["python", file, *arguments] if not page.endswith("web.md"):  # there: app.py of an exported folder
                check_script(file, arguments)
            case ["dvc", *arguments]:
                check_dvc(arguments, stages, outputs)
            case ["make", *arguments]:
                check_make(arguments)
            case ["pip" | "pytest", *arguments]:
                check_files(arguments)
            case [program, *_]:
                assert program in OTHER_PROGRAMS


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


EXAMPLES = {*re.findall(r"^ *`(\S+)`:$", TEXTS["docs/extending.md"], re.MULTILINE), "metrics/gru_attention"}
"""Files that docs/extending.md adds: tests/pipeline/test_extending.py."""


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_to_files_and_headings(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not link.startswith("http") and not (target.exists() and (not anchor or anchor in anchors(target.read_text()))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", TEXTS)
def test_named_paths_exist_or_are_outputs(page, outputs):
    missing = []
    for code in re.findall(r"`((?:\.ci|actionrec|benchmarks|data|docs|metrics|plots|stages|tests)/[^`\s]*)`", TEXTS[page]):
        path = code.replace("<model>", "gru").rstrip("/")
        made = [*outputs, "data/raw", "data/archives.sha256", "data/models", "data/predictions"]
        is_output = any(Path(path).is_relative_to(output) for output in made)
        if not is_output and code not in EXAMPLES and not any(ROOT.glob(re.sub(r"<\w+>|NNNN", "*", path))):
            missing.append(code)
    assert missing == []


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A fresh clone of the project as it lies here, without data."""
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    run("git", "clone", "-q", str(ROOT), str(folder), cwd=ROOT)
    for name in run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "make help",
        "python -m actionrec --help",
        "dvc status",
        "dvc dag --md",
        "dvc exp show --only-changed",
    ],
)
def test_a_command_of_the_docs_runs_in_a_fresh_clone(clone, command):
    assert run(*shlex.split(command), cwd=clone).strip()


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_sample_s_results_are_those_of_the_last_run(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    specification = importlib.util.spec_from_file_location("sample_results", ROOT / "docs" / "sample_results.py")
    sample_results = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(sample_results)
    text = TEXTS[page]
    assert "<!-- sample: " in text
    assert text == sample_results.updated(text), "run `python -m docs.sample_results`"
