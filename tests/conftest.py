"""Fixtures that many tests share."""

import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from host import Host

from actionrec.data import download

ROOT = Path(__file__).parents[1]

# As in `extractors`, but before a test imports OpenVINO: its reports on usage make each conversion several times slower.
sys.modules.setdefault("openvino_telemetry", None)


def pytest_configure():
    """Let Ctrl-C reach the programs that tests start: they inherit that a shell's background job ignores it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path, config):
    """With `-m gpu`, import only the files of these tests: others need packages that a bare GPU machine lacks."""
    if config.option.markexpr != "gpu":
        return None
    modules = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return None if any("pytest.mark.gpu" in module.read_text(encoding="utf-8") for module in modules) else True


def pytest_runtest_setup(item):
    """Skip the tests that need a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch  # here: not every test needs it

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")


def pytest_collection_modifyitems(items):
    """Files with the most slow tests first: a long file that starts last would run alone at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def shared():
    """The folder of real files, which are no part of the project: ACTIONREC_SHARED, else ../shared beside the repository."""
    folder = Path(os.environ.get("ACTIONREC_SHARED") or ROOT.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"the real files are not here: {folder} (set ACTIONREC_SHARED to their folder)")
    return folder.resolve()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project: the current folder, for code that uses paths relative to the root."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def one_seeded_thread():
    """torch with one thread and a fixed random state, so that sums come out the same on a busy machine."""
    import torch  # here: not every test needs it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def host(monkeypatch):
    """A web host on this machine, without waits between attempts."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.0)
    host = Host()
    yield host
    host.close()
