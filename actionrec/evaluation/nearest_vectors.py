"""Nearest vectors by cosine: exact in blocks, or by an index of lists for sets too large to compare every pair.

D dimensions. All vectors have length 1 or 0, float32. NumPy's matrix products do the work.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_QUERIES, _KNOWN = 512, 20_000  # compared at a time: 41 MB of similarities
_PROBES = 32  # lists that are searched for each query
_PLANTED = 1000  # copies that measure the recall


class Nearest:
    """The most similar known vector of each of q queries so far; of equally similar ones, the one that was compared first."""

    def __init__(self, queries: Vectors) -> None:
        self._queries = queries
        self.rows = np.zeros(len(queries), dtype=np.int64)
        """(q,) rows of the known vectors."""
        self.similarities = np.full(len(queries), -np.inf, dtype=np.float32)
        """(q,) cosines, -1 to 1; -inf for queries that were not compared."""

    def compare(self, queries: NDArray[np.int64], known: Vectors, rows: NDArray[np.int64]) -> None:
        """Compare some queries with some known vectors, in blocks.

        Args:
            queries: (a,) their numbers, each once.
            known: (b, D).
            rows: (b,) what to record for each of `known`.
        """
        for start in range(0, len(queries), _QUERIES):
            some = queries[start : start + _QUERIES]
            vectors = self._queries[some]
            for first in range(0, len(known), _KNOWN):
                similarities = vectors @ known[first : first + _KNOWN].T
                places = similarities.argmax(axis=1)
                highest = similarities[np.arange(len(some)), places]
                better = ~(highest <= self.similarities[some])
                self.similarities[some[better]] = highest[better]
                self.rows[some[better]] = rows[first + places[better]]


def nearest(queries: Vectors, known: Vectors) -> Nearest:
    """Compare each query with each known vector; time grows with the product of their numbers.

    Args:
        queries: (q, D).
        known: (k, D), at least one.
    """
    neighbours = Nearest(queries)
    neighbours.compare(np.arange(len(queries)), known, np.arange(len(known)))
    return neighbours


class ListIndex:
    """Known vectors in lists, one for each of sqrt(k) pivots; a query is compared with those of its 32 nearest pivots.

    Pivots are known vectors, evenly spaced, and each known vector is in the list of its most similar pivot. Building takes time
    in proportion to k to the power 1.5. The search can miss the nearest vector, more often the less similar it is (`recall`).
    """

    def __init__(self, known: Vectors) -> None:
        """Args: known: (k, D), at least one; not copied."""
        self._known = known
        count = math.isqrt(len(known))
        self._pivots = known[np.arange(count) * len(known) // count]
        lists = nearest(known, self._pivots).rows
        self._members = _grouped(lists, np.arange(len(known)), count)

    def search(self, queries: Vectors) -> Nearest:
        """Find the most similar known vector of each query (q, D), as far as the lists have it."""
        neighbours, probes = Nearest(queries), min(_PROBES, len(self._pivots))
        lists = np.concatenate([_highest(block @ self._pivots.T, probes) for block in _blocks(queries)])
        callers = _grouped(lists.ravel(), np.repeat(np.arange(len(queries)), probes), len(self._pivots))
        for members, some in zip(self._members, callers, strict=True):
            if len(members) and len(some):
                neighbours.compare(some, self._known[members], members)
        return neighbours

    def recall(self, similarity: float) -> float:
        """Share of planted copies that the search finds: copies of known vectors, evenly spaced, that noise makes `similarity`.

        The noise is drawn with a fixed seed. Real copies that are more similar are found more often.
        """
        count = min(_PLANTED, len(self._known))
        originals = self._known[np.arange(count) * len(self._known) // count].astype(np.float64)
        originals = originals[originals.any(axis=1)]
        if not len(originals):
            return 1.0
        noise = np.random.default_rng(0).normal(size=originals.shape)
        noise -= (noise * originals).sum(axis=1, keepdims=True) * originals
        noise *= math.sqrt(1 - similarity**2) / np.linalg.norm(noise, axis=1, keepdims=True)
        copies = (similarity * originals + noise).astype(np.float32)
        return float((self.search(copies).similarities > similarity - 1e-4).mean())


def _blocks(vectors: Vectors) -> Iterator[Vectors]:
    return (vectors[start : start + _QUERIES] for start in range(0, max(len(vectors), 1), _QUERIES))


def _highest(similarities: Vectors, count: int) -> NDArray[np.int64]:
    """(n, count): the columns of the highest values of each row, in any order."""
    first = similarities.shape[1] - count
    return np.argpartition(similarities, first, axis=1)[:, first:]


def _grouped(keys: NDArray[np.int64], values: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """The values of each key from 0 to count - 1, in their order."""
    order = np.argsort(keys, kind="stable")
    return np.split(values[order], np.searchsorted(keys[order], np.arange(1, count)))
