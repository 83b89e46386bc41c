"""dvc.yaml against the code: each stage declares the files that it imports and the parameters that it reads."""

import dataclasses
import importlib
import re
import shutil
import subprocess
import sys

import pytest
from declared import ROOT, covers, declared_code, files_behind, imported_by
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro
from dvc.utils.hydra import apply_overrides
from projects import edit_params, flat, load_once

from actionrec.io import params
from actionrec.models import MODELS
from actionrec.parallel.code_digest import code_digest, code_files
from actionrec.training.recipes import read_recipe

STAGES = Repo(ROOT).index.stages


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.addressing)
def test_stage_declares_the_code_that_it_imports_and_no_other(stage):
    """Also what it imports late, in a function."""
    declared = declared_code(stage)
    assert {file for file in imported_by(stage) if not covers(declared, file)} == set()
    alike = [other for other in STAGES if other.name.split("@")[0] == stage.name.split("@")[0]]  # the models share one list
    imported = set().union(*map(imported_by, alike))
    assert {entry for entry in declared if not any(covers([entry], file) for file in imported)} == set()


def test_imports_are_found_as_python_finds_them():
    script = (
        "import sys, actionrec.data.splits;"
        "print(*(module.__file__ for name, module in sys.modules.items() if name.split('.')[0] == 'actionrec'), sep='\\n')"
    )
    printed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert set(files_behind(["actionrec.data.splits"])) >= set(printed.split())


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage.name != "check"], ids=lambda stage: stage.name)
def test_keys_of_resumable_work_have_the_code_that_dvc_yaml_declares(stage):
    files = {file.relative_to(ROOT).as_posix() for file in code_files(stage.name)}
    assert {file for file in imported_by(stage) if file not in files} == set()
    assert {file for file in files if not covers(declared_code(stage), file)} == set()


def test_the_code_digest_changes_with_the_code_and_not_with_its_place(tmp_path, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder / "actionrec/models").mkdir(parents=True)
        (tmp_path / folder / "dvc.yaml").write_text(
            'stages:\n  train:\n    foreach: {gru: {}, lstm: {}}\n    do:\n      deps: [data/x, "actionrec/models/${key}.py"]\n'
        )
        for name in ("gru", "lstm"):
            (tmp_path / folder / f"actionrec/models/{name}.py").write_text(f"NAME = {name!r}\n")
    digests = []
    for folder in ("one", "two"):
        monkeypatch.setattr("actionrec.parallel.code_digest.ROOT", tmp_path / folder)
        digests.append({name: code_digest(f"train@{name}") for name in ("gru", "lstm")})
    assert digests[0] == digests[1]
    assert digests[0]["gru"] != digests[0]["lstm"]
    (tmp_path / "two/actionrec/models/gru.py").write_text("NAME = 'changed'\n")
    assert code_digest("train@gru") != digests[0]["gru"]
    assert code_digest("train@lstm") == digests[0]["lstm"]


def test_modules_are_named_at_run_time_where_the_tests_know_of_it():
    """Another call of import_module needs another line in `declared.named_at_run_time`."""
    files = [file for folder in ("actionrec", "stages") for file in (ROOT / folder).rglob("*.py")]
    dynamic = {file.relative_to(ROOT).as_posix() for file in files if re.search(r"import_module\(|__import__\(", file.read_text())}
    assert dynamic == {
        "actionrec/__init__.py",
        "actionrec/data/datasets/__init__.py",
        "actionrec/features/networks/__init__.py",
        "actionrec/models/__init__.py",
        "actionrec/parallel/engines/ray.py",
    }


def test_an_experiment_changes_one_line_of_params_yaml(tmp_path):
    """`dvc exp run -S` writes the whole file in its own form: ours is that form."""
    before = (ROOT / "params.yaml").read_text()
    file = tmp_path / "params.yaml"
    file.write_text(before)
    apply_overrides(str(file), ["model.hidden_dim=256"])
    assert file.read_text() == before.replace("hidden_dim: 512", "hidden_dim: 256")


def test_models_params_and_stages_name_the_same_models():
    assert {stage.name for stage in STAGES if stage.name.startswith("train@")} == {f"train@{name}" for name in MODELS}
    assert set(params.load(ROOT / "params.yaml")["models"]) == set(MODELS)


@pytest.fixture(scope="module")
def leaves_that_matter(tmp_path_factory) -> dict[str, set[str]]:
    """Model -> paths in params.yaml whose change changes the model's recipe."""
    folder, monkeypatch = tmp_path_factory.mktemp("changed"), pytest.MonkeyPatch()
    monkeypatch.setattr(params, "load", load_once(params.load))  # all models read the same texts
    before = {model: read_recipe(model, ROOT / "params.yaml") for model in MODELS}
    found: dict[str, set[str]] = {model: set() for model in MODELS}
    for leaf, value in flat(params.load(ROOT / "params.yaml")).items():
        changed_value = {bool: lambda v: not v, int: lambda v: v + 8, float: lambda v: v / 2}.get(type(value))
        if changed_value:
            shutil.copy(ROOT / "params.yaml", folder)
            edit_params(folder, {leaf: changed_value(value)})
            for model in MODELS:
                if read_recipe(model, folder / "params.yaml") != before[model]:
                    found[model].add(leaf)
    monkeypatch.undo()
    return found


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage.name != "check"], ids=lambda stage: stage.name)
def test_stage_declares_the_parameters_that_it_reads(stage, leaves_that_matter):
    declared = {param for dep in stage.params for param in dep.params}
    name = stage.name.removeprefix("train@")
    if name in MODELS or name == "package":
        read = set().union(*(leaves_that_matter[model] for model in (MODELS if name == "package" else [name])))
        assert {leaf for leaf in read if not any(f"{leaf}.".startswith(f"{param}.") for param in declared)} == set()
        unread = {param for param in declared if not any(f"{leaf}.".startswith(f"{param}.") for leaf in read)}
        assert unread <= {f"models.{name}", "split"}  # the stage itself reads the number of the saved fold
    elif name == "audit":
        assert declared == set()
    elif name == "weights":  # of the section, what it checks
        assert declared == {"features.backbone", "features.weights"}
    else:
        assert declared == {field.name for field in dataclasses.fields(importlib.import_module(f"stages.{name}").Params)}


def test_weights_are_checked_before_clips_are_fetched_and_decoded():
    order = [stage.name for stage in plan_repro(Repo(ROOT).index.graph)]
    assert order.index("weights") < order.index("fetch") < order.index("extract_frames")
