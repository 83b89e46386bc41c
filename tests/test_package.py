"""The package as it is installed: editable, and as a wheel outside of the checkout."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import bundles
import pytest
import setuptools

import actionrec
from actionrec.web import space

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return space.build_wheel(tmp_path_factory.mktemp("wheel"))


def run(*command, cwd, **environment):
    """Run a command; return its output, and show it if the command fails."""
    environment = {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **environment}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_version_has_one_source():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "actionrec.version.__version__"}
    assert actionrec.__version__.count(".") == 2


@pytest.mark.slow
def test_the_wheel_predicts_in_an_empty_folder(wheel, tmp_path):
    bundles.tiny_bundle(tmp_path / "empty" / "gru")
    [clip, *_] = bundles.clips(tmp_path / "empty", count=1)
    run(*PIP, "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path / "installed", wheel, cwd=tmp_path)
    arguments = ["predict", clip, "--model", "./gru", "--json"]
    where = {"cwd": tmp_path / "empty", "PYTHONPATH": str(tmp_path / "installed")}
    printed = run(sys.executable, tmp_path / "installed/bin/actionrec", *arguments, **where)
    assert json.loads(printed)["label"] == "Bright"
    assert "actionrec predict" in run(sys.executable, "-m", "actionrec", "predict", "--help", **where)
    code = "import actionrec; print(actionrec.__file__, actionrec.load('./gru').predict(__import__('sys').argv[1]).label)"
    assert run(sys.executable, "-c", code, clip, **where) == f"{tmp_path}/installed/actionrec/__init__.py Bright\n"
    assert (tmp_path / "installed/actionrec/web/static/index.html").is_file()
    assert not (tmp_path / "installed/stages").exists()


@pytest.mark.slow
def test_an_editable_install_leaves_copies_of_the_project_their_own_code(tmp_path):
    """As `dvc exp run --temp` needs it: the current folder comes before the installed package on sys.path."""
    for name in ("installed", "copy"):
        (tmp_path / name / "stages").mkdir(parents=True)
        (tmp_path / name / "actionrec").mkdir()
        (tmp_path / name / "actionrec/__init__.py").write_text("")
        (tmp_path / name / "actionrec/version.py").write_text("__version__ = '1.0.0'\n")
        (tmp_path / name / "actionrec/where.py").write_text(f"NAME = '{name}'\n")
        (tmp_path / name / "stages/__init__.py").write_text("")
        (tmp_path / name / "stages/check.py").write_text("from actionrec.where import NAME\nprint(NAME)\n")
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            (tmp_path / name / file).write_bytes((ROOT / file).read_bytes())
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    [packages] = (tmp_path / "venv/lib").glob("python*/site-packages")
    install = [*PIP, "--python", python, "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    (packages / "setuptools.pth").write_text(str(Path(setuptools.__file__).parents[1]))
    run(*install, "--editable", tmp_path / "installed", cwd=tmp_path)

    assert run(python, "-c", "from actionrec.where import NAME; print(NAME)", cwd=tmp_path) == "installed\n"
    assert run(python, "-m", "stages.check", cwd=tmp_path / "copy") == "copy\n"
    assert run(python, "-m", "stages.check", cwd=tmp_path / "installed") == "installed\n"
    assert (tmp_path / "venv/bin/actionrec").is_file()
