"""The stage that tunes the backbone: twelve clips, one or two epochs of a small network."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import PARAMS, TWELVE_CLIPS, split_twelve_clips
from ruamel.yaml import YAML

from actionrec.core import paths
from actionrec.core.errors import ParamsError
from actionrec.evaluation.prediction_files import read_predictions
from actionrec.features.backbones import FeatureSettings, create_backbone
from actionrec.features.feature_store import read_features
from actionrec.features.tuned_backbone import PREDICTIONS, WEIGHTS, read_tuned
from actionrec.finetuning import run as finetuning_run
from actionrec.io import machine
from actionrec.io.tensors import load_tensors
from stages import check, extract_frames, finetune, resnet_features

ROOT = Path(__file__).parents[2]
BACKBONE = "shufflenet_v2_x0_5"
TUNED = {"epochs": 2, "segments": 2, "batch_size": 4, "precision": "fp32"}


def set_params(**changes):
    """Write params.yaml with these settings of the section `finetune`."""
    features = {**PARAMS["features"], "backbone": BACKBONE}
    YAML().dump({**TWELVE_CLIPS, "features": features, "finetune": {**PARAMS["finetune"], **changes}}, paths.PARAMS)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A project of twelve clips whose frames are stored."""
    folder = tmp_path_factory.mktemp("frames")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        split_twelve_clips(patch)
        extract_frames.main()
    return folder


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(machine, "TRAINING_THREADS", 1)
    for name, value in {"ACTIONREC_WORKERS": "1", "ACTIONREC_DEVICE": "cpu", "ACTIONREC_RUNTIME": "torch"}.items():
        monkeypatch.setenv(name, value)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def stored(frames, project):
    shutil.copytree(frames, project, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def tuned(frames, tmp_path_factory):
    """That project after the stages finetune and resnet_features."""
    folder = tmp_path_factory.mktemp("tuned") / "project"
    shutil.copytree(frames, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(machine, "TRAINING_THREADS", 1)
        for name, value in {"ACTIONREC_WORKERS": "1", "ACTIONREC_DEVICE": "cpu", "ACTIONREC_RUNTIME": "torch"}.items():
            patch.setenv(name, value)
        set_params(**TUNED)
        finetune.main()
        resnet_features.main()
    return folder


def outputs(folder=Path()):
    return {
        **{path.name: path.read_bytes() for path in (folder / paths.BACKBONE).iterdir()},
        "metrics": (folder / paths.FINETUNE_METRICS).read_bytes(),
    }


def test_without_epochs_the_output_is_constant_and_torch_is_not_imported(tmp_path):
    found = []
    for seed in (0, 1):
        project = tmp_path / str(seed)
        project.mkdir()
        YAML().dump({**PARAMS, "seed": seed}, project / "params.yaml")
        code = "import sys; from stages import finetune; finetune.main(); print('torch' in sys.modules, 'cv2' in sys.modules)"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=project, env=environment, text=True, capture_output=True, check=True
        )
        assert done.stdout == "False False\n"
        found.append({str(path.relative_to(project)): path.read_bytes() for path in project.rglob("*.json")})
    assert found[0] == found[1]
    assert set(found[0]) == {"data/backbone/backbone.json", "metrics/finetune.json", "metrics/finetune_timing.json"}


def test_it_writes_weights_predictions_and_metrics(tuned, monkeypatch):
    monkeypatch.chdir(tuned)
    backbone = read_tuned(paths.BACKBONE)
    record = json.loads(paths.FINETUNE_METRICS.read_text())
    about = backbone.tuning
    assert (about.weights, about.stages, about.protocol, about.fold, about.seed) == ("random", 1, "group", 0, 0)
    assert about.epochs == record["best_epoch"]
    assert about.gain == create_backbone(FeatureSettings(BACKBONE, "random", "fp32")).gain
    assert (record["epochs"], record["stages"], record["diverged_in"], len(record["curves"])) == (2, 1, None, 2)
    assert all(0 <= value <= 1 for key, value in record.items() if key.endswith("top1"))
    assert record["learning_parameters"] > 1024 * 3
    answers = read_predictions(paths.BACKBONE / PREDICTIONS, 3, "")
    assert record["test_top1"] == pytest.approx(answers.correct().mean())
    assert record["val_top1"] == pytest.approx((answers.val.logits.argmax(axis=1) == answers.val.labels).mean())
    assert set(json.loads(paths.FINETUNE_TIMING.read_text())) == {"seconds", "device", "clips_per_second"}
    plain = create_backbone(FeatureSettings(BACKBONE, "random", "fp32")).network.state_dict()
    state, _ = load_tensors(paths.BACKBONE / WEIGHTS)
    assert set(state) == set(plain)
    changed = {name.split(".")[0] for name in state if not np.array_equal(state[name], plain[name].numpy())}
    assert changed == {"stage4", "conv5"}


@pytest.mark.usefixtures("stored")
def test_features_are_those_of_the_tuned_backbone_and_say_so(tuned):
    set_params()
    finetune.main()
    resnet_features.main()
    frozen, own = read_features(paths.FEATURES), read_features(tuned / paths.FEATURES)
    assert frozen.clips == own.clips
    assert not np.array_equal(np.asarray(frozen.features), np.asarray(own.features))
    assert own.source["weights"] == "tuned"
    assert own.source["tuning"]["stages"] == 1
    assert "tuning" not in frozen.source
    shutil.copytree(tuned / paths.BACKBONE, paths.BACKBONE, dirs_exist_ok=True)
    resnet_features.main()
    assert np.array_equal(np.asarray(read_features(paths.FEATURES).features), np.asarray(own.features))


@pytest.mark.usefixtures("stored")
def test_a_second_run_gives_the_same_bytes_and_a_third_trains_nothing(tuned, monkeypatch):
    set_params(**TUNED)
    finetune.main()
    assert outputs() == outputs(tuned)
    [checkpoint] = finetuning_run.FOLDER.iterdir()
    monkeypatch.setattr(finetuning_run.TuningRun, "_train_epoch", None)
    finetune.main()
    assert outputs() == outputs(tuned)
    assert [*finetuning_run.FOLDER.iterdir()] == [checkpoint]


@pytest.mark.slow
@pytest.mark.usefixtures("stored")
def test_a_run_that_is_killed_for_real_resumes_to_the_same_bytes(project):
    """In processes of their own, with as many threads as they choose."""
    set_params(**{**TUNED, "epochs": 12})
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.finetune"]
    process = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(finetuning_run.FOLDER.glob("*.safetensors")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert list(finetuning_run.FOLDER.glob("*.safetensors"))
    assert not (paths.BACKBONE / WEIGHTS).exists()
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    resumed = outputs()
    shutil.rmtree(paths.WORK)
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    assert outputs() == resumed


@pytest.mark.usefixtures("stored")
def test_classes_that_a_mirror_changes_are_refused_before_anything_is_written():
    for file in (paths.CLIPS, paths.SPLIT):
        file.write_text(file.read_text().replace(",Sit,", ",turn_left,"))
    set_params(**TUNED)
    with pytest.raises(ParamsError, match=r"finetune\.flip: a mirrored clip would show another class than turn_left"):
        finetune.main()
    assert not (paths.BACKBONE / WEIGHTS).exists()


@pytest.mark.usefixtures("project")
def test_the_check_refuses_a_tuned_backbone_for_all_folds():
    for epochs, folds, refused in ((0, "all", False), (3, "one", False), (3, "all", True)):
        finetuned = {**PARAMS["finetune"], "epochs": epochs}
        YAML().dump({**PARAMS, "finetune": finetuned, "evaluation": {"folds": folds}}, paths.PARAMS)
        if refused:
            with pytest.raises(ParamsError, match=r"^params\.yaml: evaluation\.folds: all does not fit finetune\.epochs"):
                check.refuse_tuning_for_all_folds()
        else:
            check.refuse_tuning_for_all_folds()
