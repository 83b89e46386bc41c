"""Self-contained folder that serves the web page with one model, for a Hugging Face Space or any other host.

It contains the package's wheel, a requirements.txt with exact versions, the model with its backbone, an app, a Dockerfile, and a
few clips to try.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.core.text import first_few, shortened
from actionrec.features import backbones
from actionrec.features.settings import streams_phrase
from actionrec.inference.predictor import BACKBONE, Predictor, load
from actionrec.io import tensors
from actionrec.io.files import whole_folder
from actionrec.training.bundle import DESCRIPTION, WEIGHTS
from actionrec.web import samples
from actionrec.web.samples import SampleClip

ROOT = Path(__file__).parents[2]
"""The project's checkout, which the wheel is built from."""

REQUIREMENTS = "requirements.txt"
PORT = 7860
"""The default port of a Hugging Face Space."""

_DATASET, _SAMPLES = "sample", 2  # the data set of actionrec/data/datasets/sample.py, and how many of its clips are added
_PYTHON = "3.11"  # the oldest supported version: requirements.txt is compiled for it and for newer ones

_PIPELINE_ONLY = {"cleanlab", "dvc", "dvclive", "rarfile", "scikit-learn"}  # direct dependencies that the page does not import

# torch requires these itself, in the versions that it was built with; its CPU build does not need them.
_CUDA = ("nvidia-", "cuda-", "triton")

_APP = '''\
"""Serve the web page with this folder's model. HOST and PORT set the address."""

import os
from pathlib import Path

from actionrec.core import entry
from actionrec.web import samples, server
from actionrec.web.predict_request import Limits


def main() -> None:
    os.chdir(Path(__file__).parent)
    server.serve(
        sorted(Path("bundle").iterdir()),
        samples.of_folder(Path("samples")),
        host=os.environ.get("HOST", "127.0.0.1"),
        port=server.port_of(os.environ.get("PORT", "{port}"), "PORT"),
        limits=Limits(),
        framed_by="'self' https://huggingface.co",
    )


if __name__ == "__main__":
    entry.run(main, ends_with_dvc=False)
'''

_DOCKERFILE = """\
FROM python:{python}-slim
RUN useradd --create-home --uid 1000 user
WORKDIR /home/user/app
COPY requirements.txt {wheel} ./
# torch's CPU build is several GB smaller: for a machine without a GPU, add PyTorch's CPU index as --extra-index-url.
RUN pip install --no-cache-dir --requirement requirements.txt && pip install --no-cache-dir --no-deps ./{wheel}
COPY --chown=user . .
USER user
ENV HOST=0.0.0.0 PORT={port}
EXPOSE {port}
CMD ["python", "app.py"]
"""

_README = """\
---
title: {quoted}
colorFrom: green
colorTo: gray
sdk: docker
app_port: {port}
pinned: false
---

# {title}

Says which of {count} actions a video shows: {classes}. A video of anything else gets one of these classes, too.

A {model} on frame features of a {features}.{warning} Uploads are deleted as soon as they are answered.

```sh
pip install -r requirements.txt
pip install --no-deps ./{wheel}
python app.py   # http://127.0.0.1:{port}; with HOST=0.0.0.0, other machines can connect
```

`/docs` describes the HTTP API. The page offers the clips in `samples/<Class>/`.
"""


def write_space(output: Path, bundle: Path, backbone_file: Path | None = None) -> None:
    """Write the folder, whole or not at all.

    Args:
        output: must not exist yet.
        bundle: a trained model's folder.
        backbone_file: the file of its backbone's weights, if they are not found: see `predictor.read_backbone`.

    Raises:
        DataError: `output` exists, the bundle is damaged, or the wheel cannot be built.
        WeightsError: the weights of the model or of the backbone are not those that the bundle was made with.
    """
    if output.exists():
        raise DataError(f"{output} is there already. Name another folder, or remove it first.")
    predictor = load(bundle, backbone_file=backbone_file)
    with whole_folder(output) as draft:
        wheel = build_wheel(draft)
        _copy(ROOT / "LICENSE", draft / "LICENSE")
        _write_bundle(draft / "bundle" / bundle.resolve().name, bundle, predictor)
        for sample in _samples(predictor):
            _copy(sample.path, draft / "samples" / sample.label / sample.path.name)
        texts = {
            "app.py": _APP.replace("{port}", str(PORT)),
            "Dockerfile": _DOCKERFILE.format(python=_PYTHON, port=PORT, wheel=wheel.name),
            "README.md": _readme(predictor, wheel.name),
            REQUIREMENTS: requirements(),
            ".gitattributes": "".join(
                f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in ("safetensors", "avi", "mp4", "whl")
            ),
        }
        for name, text in texts.items():
            (draft / name).write_text(text, encoding="utf-8")


def build_wheel(folder: Path) -> Path:
    """Build the package's wheel into a folder, without the network; the same code gives the same bytes.

    Raises:
        DataError: the project's checkout is missing, or building fails.
    """
    if not (ROOT / "pyproject.toml").is_file():
        raise DataError(f"{ROOT} is not a checkout of the project: pyproject.toml is missing. Run this in a checkout.")
    with tempfile.TemporaryDirectory(prefix="actionrec-wheel-") as name:
        source = Path(name)  # a copy: building writes beside the code
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            _copy(ROOT / file, source / file)
        shutil.copytree(ROOT / "actionrec", source / "actionrec", ignore=shutil.ignore_patterns("__pycache__"))
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        command += ["--wheel-dir", str(folder.resolve()), str(source)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}  # 1980: the earliest time that a ZIP file can record
        done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        raise DataError(f"the wheel of {ROOT} cannot be built: {shortened(done.stderr.strip(), 500)}")
    [wheel] = folder.glob("actionrec-*.whl")
    return wheel


def _write_bundle(folder: Path, bundle: Path, predictor: Predictor) -> None:
    for name in (DESCRIPTION, WEIGHTS):
        _copy(bundle / name, folder / name)
    if predictor.bundle.features["weights"] != backbones.RANDOM:
        state = {name: tensor.cpu().numpy() for name, tensor in predictor.backbone.network.state_dict().items()}
        tensors.save_tensors(folder / BACKBONE, state, {})


def _samples(predictor: Predictor) -> list[SampleClip]:
    """Clips of the drawn data set, if the model knows their classes; other data sets' clips must not be redistributed."""
    drawn = samples.of_folder(paths.RAW / _DATASET, samples.subsets())
    return [sample for sample in drawn if sample.label in predictor.class_names][:_SAMPLES]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _readme(predictor: Predictor, wheel: str) -> str:
    source = predictor.bundle.features
    untrained = source["weights"] == backbones.RANDOM
    title = f"Action recognition ({predictor.name})"
    return _README.format(
        title=title,
        quoted=json.dumps(title, ensure_ascii=False),  # also valid YAML
        port=PORT,
        count=len(predictor.class_names),
        classes=first_few(predictor.class_names, 12),
        model=predictor.bundle.architecture.model,
        features=", ".join(
            filter(None, (f"{source['backbone']} with weights {source['weights']}", streams_phrase(predictor.streams)))
        ),
        warning=" The backbone is untrained: it follows drawn shapes, and does not recognise real footage." if untrained else "",
        wheel=wheel,
    )


def requirements() -> str:
    """The lines of the project's requirements.txt that the page needs: its direct dependencies, and theirs."""
    pinned: dict[str, list[str]] = {}
    for line in (ROOT / REQUIREMENTS).read_text(encoding="utf-8").splitlines():
        if "==" in line:
            pinned.setdefault(_normal(line.partition("==")[0]), []).append(line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = {_name(line) for line in (*project["dependencies"], *project["optional-dependencies"]["web"])} - _PIPELINE_ONLY
    needed: set[str] = set()
    remaining = sorted(direct)
    while remaining:
        name = remaining.pop()
        if name in pinned and name not in needed and not name.startswith(_CUDA):
            needed.add(name)
            remaining += _required_by(name)
    return "".join(f"{line}\n" for name in sorted(needed) for line in pinned[name])


def _required_by(distribution: str) -> list[str]:
    """The names of an installed distribution's requirements, without extras; none if it is not installed."""
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    return [_name(line) for line in lines if "extra ==" not in line]


def _name(requirement: str) -> str:
    """The distribution's name in a requirement.

    >>> _name("ruamel.yaml>=0.18")
    'ruamel-yaml'
    """
    return _normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])


def _normal(distribution: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
