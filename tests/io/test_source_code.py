import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from actionrec.io import source_code
from actionrec.io.source_code import digest_behind, files_behind

ROOT = Path(__file__).parents[2]


def test_what_is_found_is_what_python_loads():
    script = (
        "import sys, actionrec.data.splits;"
        "print(*(module.__file__ for name, module in sys.modules.items() if name.split('.')[0] == 'actionrec'), sep='\\n')"
    )
    printed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert set(files_behind(["actionrec.data.splits"])) >= set(printed.split())


def test_modules_that_are_imported_by_the_way_are_found_and_others_are_not():
    names = {
        Path(file).relative_to(ROOT).as_posix() for file in files_behind(["actionrec.training.seed_runs", "actionrec.models.gru"])
    }
    assert {
        "actionrec/training/loop.py",
        "actionrec/models/__init__.py",
        "actionrec/models/gru.py",
        "actionrec/io/files.py",
    } <= names
    assert not {"actionrec/models/lstm.py", "actionrec/report/__init__.py", "actionrec/__main__.py"} & names


def test_a_module_that_is_not_there_is_refused():
    with pytest.raises(FileNotFoundError, match=r"no module actionrec\.nonsense"):
        files_behind(["actionrec.nonsense"])


def test_the_digest_tells_code_apart_and_not_where_it_lies(tmp_path, monkeypatch):
    package = tmp_path / "actionrec"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from actionrec import two")
    (package / "two.py").write_text("X = 1")
    monkeypatch.setattr(source_code, "_ROOT", tmp_path)
    first = digest_behind(["actionrec.one"])
    assert digest_behind(["actionrec.two"]) != first
    moved = tmp_path / "moved"
    shutil.copytree(package, moved / "actionrec")
    monkeypatch.setattr(source_code, "_ROOT", moved)
    assert digest_behind(["actionrec.one"]) == first
    (moved / "actionrec" / "two.py").write_text("X = 2")
    assert digest_behind(["actionrec.one"]) != first
