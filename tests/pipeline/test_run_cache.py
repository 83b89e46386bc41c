"""DVC's run cache and params.yaml: every value that a stage wrote is the one that params.yaml has, also where DVC restores a run.

The project here has the real stages' names, parameters and order, but its stages only write down what they read.
"""

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import dvc.stage.cache
import dvc.stage.run
import pytest
from dvc.exceptions import ReproductionError
from dvc.repo import Repo
from dvc.stage.exceptions import StageCmdFailedError
from projects import edit_params, flat, load_once
from ruamel.yaml import YAML

from actionrec.core.errors import ParamsError
from actionrec.io import params
from actionrec.models import MODELS, model_keys
from actionrec.training.loop import TrainSettings
from actionrec.training.recipes import read_recipe
from stages import check, clip_cost, compare, extract_frames, fetch, finetune, resnet_features, split, train, weights

ROOT = Path(__file__).parents[2]
DOCUMENT = params.load(ROOT / "params.yaml")
LEAVES = flat(DOCUMENT)
CHECKED = "data/params_checked.txt"

STAGES = {stage.name: sorted(name for dep in stage.params for name in dep.params) for stage in Repo(ROOT).index.stages}
PLAIN = {
    "clip_cost": clip_cost,
    "compare": compare,
    "extract_frames": extract_frames,
    "fetch": fetch,
    "finetune": finetune,
    "resnet_features": resnet_features,
    "split": split,
    "weights": weights,
}

OTHER = {  # a valid value for each key that a number or a switch cannot be made up for
    "data.dataset": "mine",
    "data.group": r"(person\d+)",
    "split.protocol": "random",
    "split.validation": 0.25,
    "frames.snippet.rate": 15.0,
    "frames.fit": "crop",
    "frames.format": "raw",
    "frames.quality": 90,
    "features.backbone": "resnet18",
    "features.weights": "IMAGENET1K_V1",
    "features.streams": ["diff"],
    "features.precision": "fp32",
    "finetune.flip_pairs": [["turn_left", "turn_right"]],
    "finetune.precision": "fp32",
    "train.precision": "fp32",
    "train.class_weights": "balanced",
    "train.mixup": 0.2,
    "train.drop_frames": 0.1,
    "train.seeds": [0, 1],
    "evaluation.folds": "all",
    "models.bilstm.read": "last",
    "models.swin_transformer.depths": [2, 2],
    "models.swin_transformer.num_heads": [2, 4],
}

ALONG = {"frames.snippet.rate": {"frames.snippet.length": 2}}  # what else must change for the other value to be valid


def other_value(leaf):
    value = LEAVES[leaf]
    if leaf in OTHER:
        return OTHER[leaf]
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value / 2


def what_it_reads(stage):
    """What a stage takes from params.yaml, as JSON has it."""
    name = stage.removeprefix("train_")
    if name in PLAIN:
        read = dataclasses.asdict(params.read(PLAIN[name].Params))
    else:
        read = {model: dataclasses.asdict(read_recipe(model)) for model in (MODELS if name == "package" else [name])}
        read |= {} if name == "package" else dataclasses.asdict(params.read(train.Params))
    return json.loads(json.dumps(read))


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """The current folder becomes a project with DVC's real cache and run cache; yields a list of the stages that ran."""
    folder, ran = tmp_path_factory.mktemp("recording"), []
    stages = {"check": {"cmd": "record check", "deps": ["params.yaml"], "outs": [CHECKED]}}
    for name, read in STAGES.items():
        if read:
            plain = name.replace("@", "_")
            stages[plain] = {"cmd": f"record {plain}", "params": read, "deps": [CHECKED], "outs": [f"{plain}/read.json"]}
    (folder / "data").mkdir()
    for name, stage in stages.items():  # a file each: DVC takes long to write a long dvc.lock
        (folder / name).mkdir()
        YAML().dump({"stages": {name: {"wdir": "..", **stage}}}, folder / name / "dvc.yaml")
    shutil.copy(ROOT / "params.yaml", folder)

    def record(_, command, **__):
        stage = command.split()[1]
        ran.append(stage)
        try:
            check.main() if stage == "check" else Path(stage, "read.json").write_text(json.dumps(what_it_reads(stage)))
        except ParamsError as error:
            Path("refused").write_text(f"{error}\n")
            raise StageCmdFailedError(command, 2) from None

    before = Path.cwd()
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dvc.stage.run, "_run", record)  # in this process, and each text parsed once: hundreds of runs take seconds
        patch.setattr(params, "load", load_once(params.load))
        Repo.init(no_scm=True)
        Repo().reproduce(all_pipelines=True)
        yield ran
    os.chdir(before)


@pytest.fixture
def project(recording):
    """That project, with params.yaml as it is in Git, and the list of the stages that ran since."""
    recording.clear()
    yield recording
    shutil.copy(ROOT / "params.yaml", "params.yaml")


def ignored_by_the_run_cache(monkeypatch):
    """The keys that DVC leaves out, at any depth, of what it tells one run from another by."""
    left_out = []
    monkeypatch.setattr(dvc.stage.cache, "dict_sha256", lambda _, exclude: left_out.extend(exclude))
    dvc.stage.cache._get_cache_hash({})
    return left_out


def test_no_key_of_params_yaml_is_one_that_the_run_cache_ignores(monkeypatch):
    ignored = ignored_by_the_run_cache(monkeypatch)
    assert {"size", "nfiles"} <= set(ignored)
    assert {leaf for leaf in LEAVES if set(leaf.split(".")) & set(ignored)} == set()
    settings = {key for model in MODELS for key in what_it_could_read(model)}
    assert settings & set(ignored) == set()


def what_it_could_read(model):
    """All keys that a model's section may have, those that params.yaml leaves out included."""
    return [*model_keys(model), *(field.name for field in dataclasses.fields(TrainSettings))]


def readers(leaf):
    """The stages that declare a key; of the trainings the first one, since all declare their keys in the same way."""
    found = [name.replace("@", "_") for name, read in STAGES.items() if any(f"{leaf}.".startswith(f"{one}.") for one in read)]
    trainings = [name for name in found if name.startswith("train_")]
    return [name for name in found if name not in trainings[1:]]


def written(stages):
    return {stage: json.loads(Path(stage, "read.json").read_text()) for stage in stages}


@pytest.mark.slow
@pytest.mark.parametrize("leaf", LEAVES)
def test_a_value_changed_and_changed_back_is_the_one_that_the_stages_wrote(project, leaf):
    stages = readers(leaf)
    first = written(stages)

    edit_params(Path(), {leaf: other_value(leaf), **ALONG.get(leaf, {})})
    Repo().reproduce([f"{stage}/dvc.yaml" for stage in stages], single_item=True)
    assert project == stages
    assert written(stages) == {stage: what_it_reads(stage) for stage in stages}
    assert written(stages) != first

    edit_params(Path(), {one: LEAVES[one] for one in (leaf, *ALONG.get(leaf, {}))})
    Repo().reproduce([f"{stage}/dvc.yaml" for stage in stages], single_item=True)
    assert project == stages  # nothing ran again: all is from the run cache
    assert written(stages) == first


def switch_and_number_swapped(value):
    """true for 1, 0 for false and so on, which DVC takes for the same value; None where there is no such thing."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    return [False] if value == [0] else None


REFUSED = {
    "null": {leaf: None for leaf in LEAVES if leaf not in ("data.group", "frames.snippet.rate")},
    "text for a number": {leaf: str(value) for leaf, value in LEAVES.items() if isinstance(value, int | float)},
    "a switch for a number or a number for a switch": {
        leaf: other for leaf, value in LEAVES.items() if (other := switch_and_number_swapped(value)) is not None
    },
}


def refusal(changes):
    """What the stage `check` says to changed values, where a run with the right ones is in the cache."""
    folder = Path.cwd()
    edit_params(folder, changes)
    with pytest.raises(ReproductionError):
        Repo().reproduce("package/dvc.yaml")
    edit_params(folder, {leaf: LEAVES[leaf] for leaf in changes})
    return (folder / "refused").read_text()


@pytest.mark.parametrize("kind", REFUSED)
def test_a_value_of_a_wrong_type_is_refused_though_a_right_run_is_cached(project, kind):
    wrong = REFUSED[kind]
    told = refusal({"seed": wrong["seed"]}) + refusal({leaf: value for leaf, value in wrong.items() if leaf != "seed"})
    assert set(re.findall(r"^params.yaml: (\S+) must be ", told, re.MULTILINE)) == set(wrong)
    assert set(project) == {"check"}


@pytest.mark.parametrize("key", ["size", "nfiles"])
def test_a_key_that_the_run_cache_ignores_is_refused(project, key):
    sections = {leaf.rpartition(".")[0] for leaf in LEAVES} - {""}
    with Path("params.yaml").open("a") as stream:
        stream.write(f"{key}: 1\n")
    with pytest.raises(ReproductionError):
        Repo().reproduce("package/dvc.yaml")
    assert f"params.yaml: {key} is unknown" in Path("refused").read_text()

    text = (ROOT / "params.yaml").read_text()
    for section in sections:
        name = section.rpartition(".")[2]
        text = re.sub(rf"^( *){name}:(.*)$", rf"\1{name}:\2\n\1  {key}: 1", text, count=1, flags=re.MULTILINE)
    Path("params.yaml").write_text(text)
    with pytest.raises(ReproductionError):
        Repo().reproduce("package/dvc.yaml")
    told = Path("refused").read_text()
    assert set(re.findall(rf"^params.yaml: (\S+)\.{key} is ", told, re.MULTILINE)) == sections
    assert set(project) == {"check"}


def test_every_stage_comes_after_the_check():
    repo = Repo(ROOT)
    graph = repo.index.graph
    after: set = set()
    found = [stage for stage in graph if stage.name == "check"]
    while found:  # an edge leads from a stage to what it depends on
        found = [stage for one in found for stage in graph.predecessors(one) if stage not in after]
        after.update(found)
    assert {stage.name for stage in graph} - {"check"} == {stage.name for stage in after}
