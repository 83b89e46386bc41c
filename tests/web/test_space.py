"""`export --space`: the self-contained folder that serves the page."""

import importlib.metadata as metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import bundles
import httpx
import pytest
from packaging.requirements import Requirement
from served import ROOT, serving

from actionrec.core.errors import DataError, WeightsError
from actionrec.features import backbones, state_dicts
from actionrec.features.backbones import FeatureSettings
from actionrec.inference import predictor
from actionrec.io import tensors
from actionrec.version import __version__
from actionrec.web import space

WHEEL = f"actionrec-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundles.tiny_bundle(tmp_path_factory.mktemp("models") / "gru")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return space.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def built_once(wheel, monkeypatch):
    """Building takes seconds: tests of other things take a copy."""
    monkeypatch.setattr(space, "build_wheel", lambda folder: Path(shutil.copy(wheel, folder)))


@pytest.fixture
def drawn(project):
    """Clips of the project's own data set."""
    bundles.clips(project / "data/raw/sample", count=1)
    return project


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_code_gives_the_same_wheel(wheel, tmp_path):
    assert space.build_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_the_folder_has_what_it_needs_and_the_same_bytes_each_time(drawn, bundle, built_once):
    space.write_space(Path("one"), bundle)
    space.write_space(Path("two"), bundle)
    one = contents(Path("one"))
    assert one == contents(Path("two"))
    assert {"app.py", "README.md", "Dockerfile", "requirements.txt", ".gitattributes", "LICENSE"} <= set(one)
    assert {"bundle/gru/model.json", "bundle/gru/model.safetensors", WHEEL} <= set(one)
    assert "bundle/gru/backbone.safetensors" not in one  # it is drawn from a seed
    assert len([name for name in one if name.startswith("samples/")]) == 2
    assert not [name for name in one if name.startswith("actionrec/")]
    assert WHEEL in one["Dockerfile"].decode()
    front = one["README.md"].decode().split("---\n")[1]
    assert {"sdk: docker", "app_port: 7860", 'title: "Action recognition (gru)"'} <= set(front.splitlines())
    assert b"/home/" not in b"".join(text for name, text in one.items() if name.endswith((".py", ".txt", ".md")))


def test_clips_of_other_data_sets_are_not_copied(project, bundle, built_once):
    bundles.clips(project / "data/raw/ucf50", count=1)
    (project / "params.yaml").write_text("data: {dataset: ucf50}\n")
    space.write_space(Path("one"), bundle)
    assert not Path("one/samples").exists()


def test_it_is_whole_or_absent(project, bundle, monkeypatch, built_once):
    Path("taken").mkdir()
    with pytest.raises(DataError, match=r"taken is there already\."):
        space.write_space(Path("taken"), bundle)
    bad = shutil.copytree(bundle, project / "bad")
    (bad / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match="its SHA-256 differs"):
        space.write_space(Path("new"), bad)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(space, "requirements", fail)
    with pytest.raises(OSError, match="disk full"):
        space.write_space(Path("new"), bundle)
    assert sorted(path.name for path in project.iterdir()) == ["bad", "taken"]


def test_a_backbone_from_a_file_is_copied(project, built_once):
    built = backbones.create_backbone(FeatureSettings("resnet18", "random", "fp32"))
    for parameter in built.network.parameters():
        parameter.data.mul_(1.01)
    file = project / "mine.safetensors"
    tensors.save_tensors(file, {name: tensor.numpy() for name, tensor in built.network.state_dict().items()}, {})
    about = {"weights": "mine.safetensors", "weights_sha256": state_dicts.state_sha256(built.network)}
    bundle = bundles.tiny_bundle(project / "models" / "gru", **about)
    with pytest.raises(WeightsError, match=r"from a file named mine\.safetensors, which is missing"):
        space.write_space(Path("one"), bundle)

    space.write_space(Path("one"), bundle, file)
    assert Path("one/bundle/gru/backbone.safetensors").is_file()
    (clip,) = bundles.clips(project / "clips", count=1)[:1]
    wanted = predictor.load(bundle, backbone_file=file).predict(clip).probabilities
    file.unlink()
    assert predictor.load(Path("one/bundle/gru")).predict(clip).probabilities.tolist() == wanted.tolist()

    with Path("one/bundle/gru/backbone.safetensors").open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(b"\x00\x00\x80\x3f")
    with pytest.raises(WeightsError, match="with other weights than"):
        predictor.load(Path("one/bundle/gru"))


def test_requirements_are_the_projects_exact_versions_and_no_more():
    lines = space.requirements().splitlines()
    assert set(lines) <= set((ROOT / "requirements.txt").read_text().splitlines())
    names = {line.partition("==")[0] for line in lines}
    assert {"torch", "torchvision", "openvino", "av", "opencv-python-headless", "fastapi", "uvicorn", "python-multipart"} <= names
    assert {"starlette", "pydantic", "numpy", "ruamel-yaml", "matplotlib", "safetensors"} <= names
    assert not {"cleanlab", "dvc", "dvclive", "onnx", "onnxruntime", "pandas", "scikit-learn", "ray", "pytest", "httpx"} & names
    assert not [name for name in names if name.startswith("nvidia")]


def test_outside_a_checkout_it_says_what_is_missing(project, bundle, monkeypatch):
    monkeypatch.setattr(space, "ROOT", project)
    with pytest.raises(DataError, match=f"{project} is not a checkout of the project: pyproject.toml is missing"):
        space.write_space(Path("one"), bundle)
    assert not Path("one").exists()


@pytest.mark.slow
def test_it_runs_in_an_empty_environment(drawn, bundle, tmp_path_factory, built_once):
    space.write_space(Path("space"), bundle)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "demo"
    shutil.move("space", elsewhere)
    packages = only_installed(elsewhere / "requirements.txt", tmp_path_factory.mktemp("packages"))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages, elsewhere / WHEEL]
    subprocess.run(install, check=True)
    environment = {"PYTHONPATH": str(packages), "PORT": "0"}
    # -S: Python sees the packages of requirements.txt and the wheel, and nothing else that is installed here.
    code = "import fastapi; import importlib.util as u; print([name for name in ('dvc', 'pytest', 'sklearn') if u.find_spec(name)])"
    printed = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, **environment},
        cwd=elsewhere,
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    assert printed == "[]\n"
    with serving(folder=elsewhere, script=["-S", "app.py"], environment=environment) as address:
        (model,) = httpx.get(f"{address}/models").json()["models"]
        assert model["model"] == "gru"
        assert httpx.get(f"{address}/comparison").json()["models"] == []
        assert "https://huggingface.co" in httpx.get(address).headers["content-security-policy"]
        for one in httpx.get(f"{address}/samples").json():
            told = httpx.post(f"{address}/predict", data={"sample": one["sample"], "explain": True, "pictures": True}, timeout=60)
            assert told.json()["label"] == one["label"]
        film = next(Path("data/raw/sample").glob("Dark/*"))
        with film.open("rb") as stream:
            told = httpx.post(f"{address}/predict", files={"video": stream}, data={"window": 0.2, "pictures": True}, timeout=60)
        assert len(told.json()["windows"]) > 1


def only_installed(requirements, folder):
    """A folder with links to what pip would install for a requirements.txt, taken from what is installed here."""
    open_ends = [Requirement(line) for line in requirements.read_text().splitlines()]
    known = set()
    while open_ends:
        need = open_ends.pop()
        extras = need.extras or {""}
        if need.name in known or (need.marker and not any(need.marker.evaluate({"extra": extra}) for extra in extras)):
            continue
        known.add(need.name)
        try:
            installed = metadata.distribution(need.name)
        except metadata.PackageNotFoundError:
            continue  # what is not here does not help
        for top in {file.parts[0] for file in installed.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(installed.locate_file(top))))
        open_ends += [
            one for one in map(Requirement, installed.requires or []) if not re.search(r"\bextra\b", str(one.marker or ""))
        ]
    return folder
