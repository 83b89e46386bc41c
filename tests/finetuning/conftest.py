"""Fixtures for tests of fine-tuning: one thread, torch on the CPU, and a small set of clips that is easy to learn."""

import numpy as np
import pytest
import torch
from small_tuning import easy_clips, write_easy_store

from actionrec.io import machine


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Threads of several test processes would wait for each other; sums come out the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(machine, "TRAINING_THREADS", 1)
    monkeypatch.setenv("ACTIONREC_RUNTIME", "torch")
    monkeypatch.setenv("ACTIONREC_WORKERS", "2")
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def easy_store(tmp_path_factory):
    """A folder of shards of the easy clips."""
    return write_easy_store(tmp_path_factory.mktemp("easy"))


@pytest.fixture
def easy(easy_store):
    """The easy clips, with labels and subsets; a mirror changes no class."""
    return easy_clips(easy_store, np.arange(3))
