"""`python -m actionrec export`, as a person runs it, and docs/onnx_example.py with what it writes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from bundles import CLASSES, FRAMES, VIDEO, clips, tiny_bundle
from commands import actionrec
from exported import project_of

from actionrec.features import backbones
from actionrec.features.backbones import FeatureSettings
from actionrec.io.files import read_json, sha256_of

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "onnx_example.py"


def export(*arguments, cwd):
    return actionrec("export", *arguments, cwd=cwd)


@pytest.fixture(scope="module", autouse=True)
def on_the_cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACTIONREC_DEVICE", "cpu")
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A plain run in a folder with a bundle and clips, and that folder."""
    folder = tmp_path_factory.mktemp("place")
    tiny_bundle(folder / "gru", "gru", frames={**FRAMES, "format": "jpeg"})
    clips(folder / "videos", count=1)
    return export("--model", "./gru", "--check", "videos", cwd=folder), folder


def test_whole_and_head_are_written_and_checked(done):
    printed, folder = done
    assert printed.returncode == 0, printed.stderr
    assert printed.stderr == "written to .work/export/gru\n"
    assert {path.name for path in (folder / ".work/export/gru").iterdir()} == {"gru.onnx", "gru-head.onnx"}
    assert printed.stdout.startswith("gru as ONNX, checked against torch on 3 videos (allowed difference: 0.001)\n\n| file ")
    rows = re.findall(r"\| (gru\S*) +\| +([\d.]+) \| (.+?) +\| +(\S+) \| (\d of \d) +\|", printed.stdout)
    assert [(row[0], row[2], row[4]) for row in rows] == [
        ("gru.onnx", "frames (B, 8, 3, 64, 64) uint8", "3 of 3"),
        ("gru-head.onnx", "features (B, 8, 512) float32", "3 of 3"),
    ]
    assert all(float(row[3]) < 1e-4 for row in rows)
    assert re.search(r"`predict` computes features in fp32 and differs by up to \S+; same top-1 for 3 of 3\.\n$", printed.stdout)


def test_the_same_bundle_gives_the_same_bytes_and_json_tells_them(done, tmp_path):
    _, folder = done
    printed = export("--model", folder / "gru", "--output", tmp_path / "here", "--json", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    told = json.loads(printed.stdout)
    assert told["model"] == "gru"
    assert told["checked_on"] == "4 clips of noise, because no clips are available"
    assert told["int8"] is None
    assert [Path(one["path"]).name for one in told["written"]] == ["gru.onnx", "gru-head.onnx"]
    for one in told["written"]:
        path = Path(one["path"])
        assert path.parent == tmp_path / "here"
        assert sha256_of(path) == one["sha256"] == sha256_of(folder / ".work/export/gru" / path.name)
        assert (one["bytes"], one["check"]["same"]) == (path.stat().st_size, 4)


def example(model, video, folder):
    """Run the example where there is nothing but onnxruntime, OpenCV and NumPy to import."""
    blocker = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'torchvision', 'actionrec', 'av', 'onnx', 'openvino', 'scipy'):\n"
        "            raise ImportError(f'{name} is not here')\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    (folder / "blocked").mkdir(exist_ok=True)
    (folder / "blocked" / "sitecustomize.py").write_text(blocker)
    environment = {**os.environ, "PYTHONPATH": str(folder / "blocked")}
    command = [sys.executable, str(EXAMPLE), str(model), str(video)]
    return subprocess.run(command, env=environment, cwd=folder, text=True, capture_output=True, check=False)


def predict(videos, model, folder):
    printed = actionrec("predict", *videos, "--model", model, "--json", cwd=folder)
    assert printed.returncode == 0, printed.stderr
    return list(map(json.loads, printed.stdout.splitlines()))


def check_example(folder, model, place, count=None):
    """The example answers as `predict` does, for the first videos of a folder, or all."""
    videos = sorted((folder / "videos").rglob("*.avi"))[:count]
    for video, answer in zip(videos, predict(videos, folder / "gru", folder), strict=True):
        printed = example(model, video, place)
        assert printed.returncode == 0, printed.stderr
        lines = [line for line in printed.stdout.splitlines() if not line.startswith("not sure")]
        assert [line.split(maxsplit=1)[1] for line in lines] == [one["label"] for one in answer["top"]]
        for line, one in zip(lines, answer["top"], strict=True):
            assert float(line.split()[0]) == pytest.approx(one["probability"], abs=2e-3)


def test_the_example_answers_as_predict_does(done, tmp_path):
    _, folder = done
    check_example(folder, folder / ".work/export/gru/gru.onnx", tmp_path)


@pytest.mark.slow
def test_the_example_takes_snippets(tmp_path):
    tiny_bundle(tmp_path / "gru", "gru", backbone="r3d_18", frames={**VIDEO, "format": "jpeg"})
    clips(tmp_path / "videos", count=1)
    assert export("--model", "./gru", "--check", "videos", cwd=tmp_path).returncode == 0
    check_example(tmp_path, tmp_path / ".work/export/gru/gru.onnx", tmp_path, count=1)


def test_the_example_refuses_what_is_no_video(done, tmp_path):
    _, folder = done
    (tmp_path / "clip.avi").write_bytes(b"no video")
    printed = example(folder / ".work/export/gru/gru.onnx", tmp_path / "clip.avi", tmp_path)
    assert printed.returncode == 1
    assert printed.stderr.endswith("clip.avi: no frame can be decoded\n")


def test_the_example_is_as_short_as_the_docs_say():
    assert len(EXAMPLE.read_text().splitlines()) <= 50


def test_8_bits_are_measured_on_the_test_clips(project):
    project_of(project)
    tiny_bundle(project / "data/models/gru", "gru")
    printed = export("--model", "gru", "--int8", "--calibrate", "6", cwd=project)
    assert printed.returncode == 0, printed.stderr
    output = project / ".work/export/gru"
    assert {path.name.removeprefix("gru") for path in output.iterdir()} == {
        *(".onnx", "-head.onnx", "-int8.onnx", "-int8.json", "-int8-timing.json")
    }
    found, timing = read_json(output / "gru-int8.json"), read_json(output / "gru-int8-timing.json")
    assert (found["calibrated_on"], found["test_clips"]) == (6, 3)
    assert found["top1_fp32"] in (0, 1 / 3, 2 / 3, 1)
    assert 0 < found["largest_difference"] < 0.5
    assert timing["times_faster"] == pytest.approx(timing["ms_fp32"] / timing["ms_int8"])
    assert "checked against torch on 3 test clips" in printed.stdout
    assert "In 8 bits, calibrated on 6 training clips; on 3 test clips:" in printed.stdout
    about = {one.key: one.value for one in onnx.load(output / "gru-int8.onnx").metadata_props}
    assert about["precision"] == "int8"
    assert json.loads(about["class_names"]) == CLASSES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--int8"], "from data/frames: data/clips.csv is missing."),
        (["--int8", "--only", "head"], "--int8 quantises the backbone, which --only head leaves out. Drop one of them."),
        (["--space", "demo", "--int8"], "--space can be combined only with --model and --backbone."),
        (["--space", "demo", "--calibrate", "3"], "--calibrate and --measure need --int8."),
        (["--measure", "3"], "--calibrate and --measure need --int8."),
        (["--model", " "], "--model is empty. Name a model, such as gru, or a bundle's folder."),
        (["--check", "nothing.avi"], "nothing.avi: no such file or folder."),
        (["--output", "gru/model.json"], "gru/model.json: the folder cannot be created"),
        (["--backbone", "nothing.safetensors"], "Omit --backbone."),
        (["--model", "vgg"], "data/models/vgg: no such model."),
    ],
)
def test_bad_input_is_one_clear_message(arguments, message, done):
    _, folder = done
    printed = export("--model", "./gru", *arguments, cwd=folder)
    assert printed.returncode == 2
    assert printed.stderr.startswith("error: ")
    assert message in printed.stderr
    assert "Traceback" not in printed.stderr
    assert printed.stdout == ""


def test_the_current_folder_has_a_name(done, tmp_path):
    _, folder = done
    printed = export("--model", ".", "--only", "head", "--output", tmp_path / "here", cwd=folder / "gru")
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.startswith("gru as ONNX, ")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["gru-head.onnx"]

    printed = export("--model", ".", "--space", tmp_path / "demo", cwd=folder / "gru")
    assert printed.stderr == f"written to {tmp_path}/demo. Run `python app.py` there to start the page.\n"
    assert printed.returncode == 0
    assert (tmp_path / "demo/bundle/gru/model.json").is_file()
    assert "# Action recognition (gru)\n" in (tmp_path / "demo/README.md").read_text()


@pytest.mark.slow
def test_real_clips_and_real_weights(shared, tmp_path):
    """A bundle on published weights, checked on real clips, which the example then answers as `predict` does."""
    weights = shared / "weights" / "mobilenet_v2_imagenet.safetensors"
    settings = FeatureSettings("mobilenet_v2", str(weights), "fp32")
    about = backbones.describe(settings, backbones.create_backbone(settings))
    frames = {"count": 8, "resolution": 224, "format": "jpeg", "quality": 95}
    about.pop("backbone")
    folder = tiny_bundle(tmp_path / "lstm", "lstm", backbone="mobilenet_v2", frames=frames, **about)
    videos = [sorted((shared / "data/real_clips" / name).glob("*.*"))[0] for name in ("Fall", "Fight")]
    command = ["--model", folder, "--backbone", weights, "--output", tmp_path / "here", "--json", "--check", *videos]
    printed = export(*command, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    told = json.loads(printed.stdout)
    assert [one["check"]["same"] for one in told["written"]] == [2, 2]
    assert told["predict"]["same"] == 2
    assert told["predict"]["difference"] < 1e-2
    shutil.copy(weights, folder / "backbone.safetensors")
    for video, answer in zip(videos, predict(videos, folder, tmp_path), strict=True):
        lines = example(tmp_path / "here/lstm.onnx", video, tmp_path).stdout.splitlines()
        best = next(line for line in lines if not line.startswith("not sure"))
        assert best.split(maxsplit=1)[1] == answer["top"][0]["label"]
        assert float(best.split()[0]) == pytest.approx(answer["top"][0]["probability"], abs=1e-2)
