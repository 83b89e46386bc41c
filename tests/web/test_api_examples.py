"""The examples of docs/web.md and of the page /docs, run with curl, Python and Node against a real server."""

import json
import re
import shutil
import subprocess
import sys

import httpx
import pytest
from playwright.sync_api import sync_playwright
from served import ROOT, serving

pytestmark = pytest.mark.slow

TEXT = (ROOT / "docs/web.md").read_text().partition("### Examples\n")[2].partition("\n## ")[0]
DOCUMENTED = "http://127.0.0.1:8501"


@pytest.fixture(scope="module")
def address(models):
    with serving("--model", models[0], "--model", models[1]) as address:
        yield address


@pytest.fixture(scope="module")
def folder(tmp_path_factory, long_film):
    """A folder with clip.mp4."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copyfile(long_film, folder / "clip.mp4")
    return folder


@pytest.fixture(scope="module")
def expected(address, folder):
    """Answers to the examples' requests: the clip, its timeline, and all models."""
    contents = (folder / "clip.mp4").read_bytes()

    def ask(path="/predict", **fields):
        return httpx.post(f"{address}{path}", files={"video": ("clip.mp4", contents)}, data=fields, timeout=60).json()

    return ask(), ask(window=2, stride=1), ask("/predict?models=all")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def run(*command, cwd, status=0):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout


def check_printed(printed, expected):
    """Headlines of the clip, of its segments, of all models and of its windows; at last the error."""
    clip, timeline, compared = expected
    headlines = [clip, *timeline["runs"], *compared["answers"], *timeline["windows"]]
    *lines, last = printed.splitlines()
    assert len(lines) == len(headlines)
    for line, one in zip(lines, headlines, strict=True):
        assert line.endswith(one["headline"])
    assert last == "refused: nix: no such model. There are gru, simple_rnn."


def test_examples_in_curl(address, folder, expected):
    (block,) = blocks("sh")
    *commands, refused = block.replace(DOCUMENTED, address).splitlines()
    *answers, lines = [run("bash", "-c", f"{command} --silent", cwd=folder) for command in commands]
    assert tuple(map(json.loads, answers)) == expected
    assert json.loads(lines.splitlines()[-1]) == {"result": expected[0]}
    error = run("bash", "-c", f"{refused} --silent", cwd=folder, status=22)
    assert json.loads(error) == {"error": "nix: no such model. There are gru, simple_rnn."}


def test_examples_in_python(address, folder, expected):
    (block,) = blocks("python")
    (folder / "example.py").write_text(block.replace(DOCUMENTED, address))
    check_printed(run(sys.executable, "example.py", cwd=folder), expected)


def test_examples_in_node(address, folder, expected):
    functions, node, _ = blocks("js")
    (folder / "example.mjs").write_text(functions.replace(DOCUMENTED, address) + node)
    check_printed(run("node", "example.mjs", cwd=folder), expected)


@pytest.fixture
def page(address):
    """The page /docs in a browser."""
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("chromium is not installed; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/docs")
        yield page
        browser.close()


def test_examples_in_a_browser(page, folder, expected):
    functions, _, browser_part = blocks("js")
    page.evaluate("document.body.append(Object.assign(document.createElement('input'), {type: 'file'}))")
    page.set_input_files("input[type=file]", folder / "clip.mp4")
    code = functions.replace(f'"{DOCUMENTED}"', '""') + browser_part
    streamed = (
        "const all = []; for await (const step of steps(file, file.name)) all.push(step); return [answer, all.at(-1).result];"
    )
    assert page.evaluate(f"async () => {{ {code} {streamed} }}") == [expected[0]] * 2


def test_examples_on_the_page(page, folder, expected):
    titles, texts = (page.locator(f"#examples {part}").all_text_contents() for part in ("summary", "pre"))
    assert titles == ["curl", "Python", "JavaScript"]
    curl, python, node = texts
    answer = json.loads(run("bash", "-c", f"{curl} --silent", cwd=folder))
    assert (answer["label"], len(answer["top"])) == (expected[0]["label"], 3)
    (folder / "page.mjs").write_text(node)
    for command in ((sys.executable, "-c", python), ("node", "page.mjs")):
        assert run(*command, cwd=folder) == f"{answer['headline']}\n"
