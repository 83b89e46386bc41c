"""What a bare GPU machine imports: it has torch, OpenCV and NumPy, but neither DVC nor the packages that come with it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MISSING = ("av", "cleanlab", "dvc", "dvclive", "rarfile", "ruamel")
"""Top-level packages that the machine lacks. PyAV and ruamel.yaml can be brought there, for decoding and for params.yaml."""

WITHOUT = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MISSING}:
            raise ImportError(f"{{name}} is not installed here")

sys.meta_path.insert(0, Missing())
"""

MODULES = [
    "benchmarks.features",
    "benchmarks.full_size",
    "benchmarks.training",
    "stages.resnet_features",
    "stages.train",
    *(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in ("features", "models", "training")
        for path in sorted((ROOT / "actionrec" / folder).rglob("*.py"))
        if path.stem != "__init__"
    ),
]


def run_without(code, hidden=WITHOUT):
    return subprocess.run([sys.executable, "-c", hidden + code], cwd=ROOT, text=True, capture_output=True, check=False)


def test_a_missing_package_is_hidden():
    assert "ImportError: dvclive is not installed here" in run_without("import dvclive").stderr


def test_features_and_training_are_imported_without_the_missing_packages():
    done = run_without(f"from importlib import import_module\nfor name in {MODULES}: import_module(name)")
    assert done.returncode == 0, done.stderr


def test_frames_need_pyav_and_nothing_else_that_is_missing():
    done = run_without("import stages.extract_frames", WITHOUT.replace("'av', ", ""))
    assert done.returncode == 0, done.stderr


def test_the_tests_of_a_gpu_are_collected_without_the_missing_packages():
    options = ["-q", "--collect-only", "-m", "gpu", "-p", "no:cacheprovider"]
    done = run_without(f"import pytest; sys.exit(pytest.main({options}))")
    assert done.returncode == 0, done.stdout
    assert "test_a_gpu_learns_the_same_bytes" in done.stdout
