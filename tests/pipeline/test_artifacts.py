"""The models by name, as another person gets them: GTO's tags in Git, the files from a DVC remote."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import finished
import pytest
from dvc.repo import Repo
from gto.constants import name_re
from projects import run

from actionrec.inference import predictor
from actionrec.models import MODELS

ROOT = Path(__file__).parents[2]
ARTIFACTS = Repo(ROOT).artifacts.read()["dvc.yaml"]


def test_every_model_and_the_best_one_have_a_name_that_gto_takes():
    assert set(ARTIFACTS) == {"best", *MODELS}
    assert all(name_re.match(name) for name in ARTIFACTS)


def test_artifacts_are_what_stages_make():
    made = {out.def_path for out in Repo(ROOT).index.outs}
    assert {one.path for one in ARTIFACTS.values()} <= made
    assert {one.path for name, one in ARTIFACTS.items() if name in MODELS} == {f"data/models/{name}" for name in MODELS}
    assert all(one.type == "model" for one in ARTIFACTS.values())


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A bare Git repository with registered models, and a DVC remote that has their files."""
    project = finished.real_project(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("published") / "project")
    store, bare = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("git") / "project.git"
    run("dvc", "remote", "add", "--force", "--default", "store", str(store), cwd=project)
    run("git", "commit", "-q", "-m", "remote", "--", ".dvc/config", cwd=project)
    run("dvc", "push", "data/best", "data/models/gru", cwd=project)
    run("gto", "register", "best", "--version", "v1.0.0", cwd=project)
    run("gto", "assign", "best", "--version", "v1.0.0", "--stage", "production", cwd=project)
    run("gto", "register", "gru", "--version", "v1.0.0", cwd=project)
    run("git", "clone", "-q", "--bare", str(project), str(bare), cwd=project)
    return project, bare


@pytest.mark.slow
def test_gto_finds_the_registered_models(published):
    _, bare = published
    shown = json.loads(run("gto", "show", "--repo", str(bare), "--json", cwd=bare))
    assert {name: one["version"] for name, one in shown.items()} == {"best": "v1.0.0", "gru": "v1.0.0"}
    assert shown["best"]["stage"] == {"production": "v1.0.0"}
    assert "was registered" in run("gto", "check-ref", "best@v1.0.0", "--repo", str(bare), cwd=bare)


@pytest.mark.slow
@pytest.mark.parametrize("which", [("best",), ("best", "--stage", "production"), ("gru", "--rev", "v1.0.0")])
def test_a_model_is_fetched_by_its_name(published, tmp_path, which):
    project, bare = published
    run("dvc", "artifacts", "get", str(bare), *which, "-o", "model", cwd=tmp_path)
    folder = {"best": "data/best", "gru": "data/models/gru"}[which[0]]
    assert contents(tmp_path / "model") == contents(project / folder)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_best_model_predicts_without_the_project(published, tmp_path):
    project, _ = published
    best = json.loads((project / "metrics/compare.json").read_text())["best"]
    assert (project / "data/best/README.md").is_file()
    clip = next((project / "data/raw/tiny").resolve().rglob("*.avi"))
    copied = shutil.copytree(project / "data/best", tmp_path / "model")
    copied, trained = (predictor.load(folder).predict(clip) for folder in (copied, project / "data/models" / best))
    assert copied.probabilities.tolist() == trained.probabilities.tolist()
    command = [sys.executable, "-m", "actionrec", "predict", str(clip), "--model", str(tmp_path / "model"), "--json"]
    answer = json.loads(subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout)
    assert answer["label"] == trained.label
