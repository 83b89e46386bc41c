import numpy as np
import pytest

from actionrec.evaluation import nearest_vectors
from actionrec.evaluation.nearest_vectors import ListIndex, nearest

DIMENSIONS = 24


def of_length_1(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def known():
    """2,000 vectors in 50 clusters."""
    random = np.random.default_rng(0)
    return of_length_1(random.normal(size=(50, DIMENSIONS)).repeat(40, axis=0) + random.normal(size=(2_000, DIMENSIONS)))


@pytest.fixture(scope="module")
def queries(known):
    """300 vectors; every third is a noisy copy of a known one."""
    random = np.random.default_rng(1)
    vectors = random.normal(size=(300, DIMENSIONS))
    vectors[::3] = known[::20] + 0.03 * random.normal(size=(100, DIMENSIONS))
    return of_length_1(vectors)


@pytest.mark.parametrize(("some_queries", "some_known"), [(512, 20_000), (7, 300), (1, 1_999)])
def test_every_query_finds_its_nearest_vector_whatever_the_size_of_blocks(known, queries, monkeypatch, some_queries, some_known):
    monkeypatch.setattr(nearest_vectors, "_QUERIES", some_queries)
    monkeypatch.setattr(nearest_vectors, "_KNOWN", some_known)
    found = nearest(queries, known)
    similarities = queries.astype(np.float64) @ known.T
    assert found.rows.tolist() == similarities.argmax(axis=1).tolist()
    np.testing.assert_allclose(found.similarities, similarities.max(axis=1), atol=1e-6)


def test_of_equally_similar_vectors_the_first_is_found(monkeypatch):
    monkeypatch.setattr(nearest_vectors, "_KNOWN", 2)
    known = np.array([[0, 1], [1, 0], [1, 0], [1, 0], [0, 0]], dtype=np.float32)
    assert nearest(known, known).rows.tolist() == [0, 1, 1, 1, 0]


def test_an_index_finds_copies_and_its_similarities_are_true(known, queries, monkeypatch):
    monkeypatch.setattr(nearest_vectors, "_PROBES", 8)  # of 44 lists
    exact, index = nearest(queries, known), ListIndex(known)
    found = index.search(queries)
    assert found.rows[::3].tolist() == np.arange(0, 2_000, 20).tolist()
    assert (found.similarities <= exact.similarities + 1e-6).all()
    np.testing.assert_allclose(found.similarities, (queries * known[found.rows]).sum(axis=1), atol=1e-6)
    missed = (found.rows != exact.rows).mean()
    assert 0 < missed < 0.3  # it compares each query with a fifth of the vectors
    assert len(index.search(queries[:0]).rows) == 0


def test_with_all_lists_the_index_is_exact(known, queries, monkeypatch):
    monkeypatch.setattr(nearest_vectors, "_PROBES", 44)
    assert ListIndex(known).search(queries).rows.tolist() == nearest(queries, known).rows.tolist()


def test_recall_rises_with_similarity_and_with_the_lists_that_are_searched(known, monkeypatch):
    monkeypatch.setattr(nearest_vectors, "_PROBES", 1)
    index = ListIndex(known)
    near, far = index.recall(0.999), index.recall(0.9)
    assert 0.8 < near <= 1
    assert far < near
    monkeypatch.setattr(nearest_vectors, "_PROBES", 8)
    assert index.recall(0.9) > max(far, 0.95)
    assert index.recall(0.9) == ListIndex(known).recall(0.9)


def test_vectors_that_are_all_zero_are_no_error():
    index = ListIndex(np.zeros((9, 3), dtype=np.float32))
    assert index.search(np.ones((2, 3), dtype=np.float32)).similarities.tolist() == [0, 0]
    assert index.recall(0.95) == 1
