import pytest


@pytest.fixture(autouse=True)
def seeded(one_seeded_thread):
    """Every test of a model has the same random state."""
