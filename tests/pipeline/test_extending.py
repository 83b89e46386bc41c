"""docs/extending.md, followed word by word in a finished project."""

import re
import shutil
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
from film import numbered_picture, write_video
from projects import ROOT, commit, edit_params, ran, run
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

MODEL = "gru_attention"
PAGE = (ROOT / "docs/extending.md").read_text()


@pytest.fixture
def project(finished_copy):
    return finished_copy


def example(path: str) -> str:
    """The code block below the line that names a file."""
    block = re.search(rf"^ *`{re.escape(path)}`:\n\n( *)```python\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)
    assert block, path
    return textwrap.dedent(block[2])


def lines_for(place: str) -> str:
    """The block of YAML below the first sentence that names `place`."""
    block = re.search(r"```yaml\n(.*?)^ *```", PAGE[PAGE.index(place) :], re.MULTILINE | re.DOTALL)
    assert block, place
    return "".join(line.removeprefix("   ") for line in block[1].splitlines(keepends=True))


def add(project: Path, path: str) -> None:
    file = project / path
    assert not file.exists()
    file.write_text(example(path))


def insert_below(file: Path, header: str, lines: str) -> None:
    text = file.read_text()
    assert len(re.findall(rf"^{header}.*\n", text, re.MULTILINE)) == 1
    file.write_text(re.sub(rf"^({header}.*\n)", lambda match: match[1] + lines, text, flags=re.MULTILINE))


def take_out(file: Path, lines: str) -> None:
    text = file.read_text()
    assert text.count(lines) == 1
    file.write_text(text.replace(lines, ""))


@pytest.fixture
def without_the_model(project):
    """The project as it was before anyone added gru_attention: without its file, lines, outputs, later stages and past runs."""
    file = project / f"actionrec/models/{MODEL}.py"
    assert file.read_text() == example(f"actionrec/models/{MODEL}.py")
    file.unlink()
    take_out(project / "params.yaml", lines_for("below `models`"))
    take_out(project / "dvc.yaml", lines_for("below `stages.train.foreach`"))
    take_out(project / "dvc.yaml", f"  {MODEL}: {{path: data/models/{MODEL}, type: model}}\n")
    yaml = YAML()
    lock = yaml.load(project / "dvc.lock")
    for stage in ("check", f"train@{MODEL}", "compare", "package"):
        for output in lock["stages"].pop(stage)["outs"]:
            path = project / output["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    yaml.dump(lock, project / "dvc.lock")
    shutil.rmtree(project / ".dvc/cache/runs")
    return project


def test_a_model_is_a_file_a_section_and_a_line(without_the_model):
    project = without_the_model
    add(project, f"actionrec/models/{MODEL}.py")
    printed = run("dvc", "repro", "check", cwd=project, fails=True)
    assert f"params.yaml: models.{MODEL}" in printed
    assert f"dvc.yaml: {MODEL} is missing below stages.train.foreach." in printed

    insert_below(project / "params.yaml", "models:", lines_for("below `models`"))
    insert_below(project / "dvc.yaml", "    foreach:", lines_for("below `stages.train.foreach`"))
    printed = run("dvc", "repro", cwd=project)
    assert ran(printed) == {"check", f"train@{MODEL}", "compare", "package"}
    assert f"| {MODEL}" in printed
    pictures = (f"plots/{MODEL}_curves.png", "plots/gru_confusion.png")
    for file in (f"metrics/cards/{MODEL}.md", *pictures, f"data/models/{MODEL}/model.json"):
        assert (project / file).is_file(), file
    predict = (sys.executable, "-m", "actionrec", "predict", "data/raw/tiny/Dark/v_Dark_g01_c01.avi", "--model", MODEL)
    assert f'"model": "{MODEL}"' in run(*predict, "--json", cwd=project)
    assert "attention over time" in run(*predict, "--explain", "why.png", cwd=project)

    (project / f"actionrec/models/{MODEL}.py").unlink()
    assert f"actionrec/models has no {MODEL}.py." in run("dvc", "repro", "check", cwd=project, fails=True)


def test_a_backbone_is_a_file(project):
    add(project, "actionrec/features/networks/squeezenet1_1.py")
    edit_params(project, {"features.backbone": "squeezenet1_1"})
    assert ran(run("dvc", "repro", "resnet_features", cwd=project)) == {"check", "weights", "finetune", "resnet_features"}
    printed = run(
        sys.executable, "-c",
        "from actionrec.features.feature_store import read_features; from actionrec.core import paths;"
        "print(read_features(paths.FEATURES).features.shape)",
        cwd=project,
    )  # fmt: skip
    assert printed.strip() == "(18, 6, 512)"


def test_a_data_set_is_a_file(project, tmp_path):
    add(project, "actionrec/data/datasets/gestures.py")
    with zipfile.ZipFile(tmp_path / "gestures.zip", "w") as archive:
        for label in ("Wave", "Point"):
            for person in ("ann", "ben", "cem", "dan", "eve"):
                clip = tmp_path / f"{label}_{person}_1.avi"
                first = len(archive.namelist())  # other pictures in each clip: identical clips would be one split group
                write_video(clip, [numbered_picture(first + number) for number in range(8)])
                archive.write(clip, f"gestures/{label}/{clip.name}")
    edit_params(project, {"data.dataset": "gestures", "data.group": r"_(\w+)_\d"})
    printed = run("dvc", "repro", "split", cwd=project, ACTIONREC_MIRROR=str(tmp_path / "gestures.zip"))
    assert {"fetch", "split"} <= ran(printed)
    assert len([*(project / "data/raw/gestures").glob("*/*.avi")]) == 10
    assert (project / "data/archives.sha256").read_text().endswith("  gestures.zip\n")
    commit(project)
    assert np.size(run("git", "status", "--porcelain", cwd=project).strip()) <= 1
