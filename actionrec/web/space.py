"""A folder that runs as it is: the web page with one model, for a Hugging Face Space or any other host.

It has the project's own code as far as the page needs it, the exact versions of the packages that this code imports, the model
with its backbone, and a few clips to try. `pip install -r requirements.txt && python app.py` runs it; so does its Dockerfile.
"""

import ast
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.core.text import first_few
from actionrec.features import backbones
from actionrec.inference.predictor import BACKBONE, Predictor, load
from actionrec.io import source_code, tensors
from actionrec.io.files import whole_folder
from actionrec.training.bundle import DESCRIPTION, WEIGHTS
from actionrec.web import samples
from actionrec.web.samples import Sample

ROOT = Path(__file__).parents[2]
"""Of the project, which the folder's code and versions come from."""

REQUIREMENTS = "requirements.txt"
PORT = 7860
"""Hugging Face's usual one."""

_DRAWN, _SAMPLES = "sample", 2  # the data set of actionrec/data/datasets/sample.py, and how many of its clips
_PYTHON = "3.11"  # the oldest that the project supports, as its requirements are compiled for it and newer ones

# torch asks for these itself, in the versions that it was built with; its build without CUDA does without them.
_TORCHS_OWN = ("nvidia-", "cuda-", "triton")

_APP = '''\
"""The web page with the model of this folder: python app.py. HOST and PORT say where it listens."""

import os
from pathlib import Path

from actionrec import entry
from actionrec.web import samples, server
from actionrec.web.requests import Limits


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
COPY requirements.txt .
# Without a GPU, torch's build for CPUs is several GB smaller: add --extra-index-url https://download.pytorch.org/whl/cpu.
RUN pip install --no-cache-dir --requirement requirements.txt
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

A {model} on the frames' features of a {backbone} with weights {weights}.{warning} Uploads are deleted as soon as they are answered.

```sh
pip install -r requirements.txt
python app.py   # http://127.0.0.1:{port}; HOST=0.0.0.0 lets other machines in
```

`/docs` describes the HTTP API. Clips in `samples/<Class>/` are offered on the page.
"""


def write_space(output: Path, bundle: Path, backbone_file: Path | None = None) -> None:
    """Write the folder, whole or not at all.

    Args:
        output: where nothing may be yet.
        bundle: a trained model's folder.
        backbone_file: its backbone's weights, where they are not found: see `inference.read_backbone`.

    Raises:
        DataError: something is at `output`, or the bundle is damaged.
        WeightsError: model or backbone have not the weights that the bundle was made with.
    """
    if output.exists():
        raise DataError(f"{output} is there already. Name another folder, or remove it first.")
    predictor = load(bundle, backbone_file=backbone_file)
    code = list(_code(predictor.bundle.architecture.model))
    with whole_folder(output) as draft:
        for file in code:
            _copy(file, draft / file.relative_to(ROOT))
        _write_bundle(draft / "bundle" / bundle.resolve().name, bundle, predictor)
        for one in _samples(predictor):
            _copy(one.path, draft / "samples" / one.label / one.path.name)
        texts = {
            "app.py": _APP.replace("{port}", str(PORT)),
            "Dockerfile": _DOCKERFILE.format(python=_PYTHON, port=PORT),
            "README.md": _readme(predictor),
            REQUIREMENTS: requirements(code),
            ".gitattributes": "".join(f"*.{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in ("safetensors", "avi", "mp4")),
        }
        for name, text in texts.items():
            (draft / name).write_text(text, encoding="utf-8")


def _code(model: str) -> Iterator[Path]:
    """The project's files that the page needs with a model, its licence among them."""
    yield ROOT / "LICENSE"
    # create_model imports a model's module by name, where nobody but a person sees it.
    yield from map(Path, source_code.files_behind(["actionrec.core.entry", "actionrec.web.server", f"actionrec.models.{model}"]))
    yield from (file for file in sorted((ROOT / "actionrec/web/static").iterdir()) if file.is_file())


def _write_bundle(folder: Path, bundle: Path, predictor: Predictor) -> None:
    for name in (DESCRIPTION, WEIGHTS):
        _copy(bundle / name, folder / name)
    if predictor.bundle.features["weights"] != backbones.RANDOM:
        state = {name: tensor.cpu().numpy() for name, tensor in predictor.backbone.network.state_dict().items()}
        tensors.save_tensors(folder / BACKBONE, state, {})


def _samples(predictor: Predictor) -> list[Sample]:
    """Clips of the drawn data set, if that is what the model knows: others' clips are not ours to give away."""
    drawn = samples.of_folder(paths.RAW / _DRAWN, samples.subsets())
    return [one for one in drawn if one.label in predictor.class_names][:_SAMPLES]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _readme(predictor: Predictor) -> str:
    about = predictor.bundle.features
    untrained = about["weights"] == backbones.RANDOM
    title = f"Action recognition ({predictor.name})"
    return _README.format(
        title=title,
        quoted=json.dumps(title, ensure_ascii=False),  # which is YAML, too
        port=PORT,
        count=len(predictor.class_names),
        classes=first_few(predictor.class_names, 12),
        model=predictor.bundle.architecture.model,
        backbone=about["backbone"],
        weights=about["weights"],
        warning=" That backbone is untrained: it follows drawn shapes, and knows nothing of real footage." if untrained else "",
    )


def requirements(code: Iterable[Path]) -> str:
    """The lines of the project's requirements.txt for what some code imports, and for what that needs in turn."""
    pinned: dict[str, list[str]] = {}
    for line in (ROOT / REQUIREMENTS).read_text(encoding="utf-8").splitlines():
        if "==" in line:
            pinned.setdefault(_normal(line.partition("==")[0]), []).append(line)
    distributions = metadata.packages_distributions()
    wanted = {name for module in _imported(code) for name in map(_normal, distributions.get(module, [])) if name in pinned}
    wanted.update({"uvicorn", "python-multipart"} & set(pinned))  # the latter FastAPI imports by itself, for uploads
    open_ends = sorted(wanted)
    while open_ends:
        needed = {name for name in _needs(open_ends.pop()) if name in pinned and not name.startswith(_TORCHS_OWN)}
        open_ends += sorted(needed - wanted)
        wanted |= needed
    return "".join(f"{line}\n" for name in sorted(wanted) for line in pinned[name])


def _imported(code: Iterable[Path]) -> set[str]:
    """Top-level modules of others that Python files import, wherever in them."""
    found = set()
    for file in code:
        if file.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names


def _needs(distribution: str) -> list[str]:
    """What an installed distribution needs, extras aside; nothing where it is not installed on this machine."""
    try:
        needs = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    return [_normal(re.split(r"[^\w.-]", need, maxsplit=1)[0]) for need in needs if "extra ==" not in need]


def _normal(distribution: str) -> str:
    """A distribution's name as pip compares it.

    >>> _normal("ruamel.yaml")
    'ruamel-yaml'
    """
    return re.sub(r"[-_.]+", "-", distribution).lower()
