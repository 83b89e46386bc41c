"""Fixture for tests of networks."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of several test processes would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
