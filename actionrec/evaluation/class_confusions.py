"""Confusions of classes: the most frequent ones, and an order in which classes that are confused are neighbours. K classes."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform


def confused_pairs(counts: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """True and predicted class of the most frequent confusions; of equally frequent ones, in the order of the classes.

    Args:
        counts: (K, K), clips by true class (rows) and predicted class (columns).
        most: number of pairs, fewer if there are not as many.

    >>> confused_pairs(np.array([[5, 2, 0], [0, 4, 3], [2, 0, 9]]), most=2)
    [(1, 2), (0, 1)]
    """
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    wrong = np.flatnonzero(errors)
    frequent = wrong[np.argsort(-errors.flat[wrong], kind="stable")][:most]
    return [divmod(int(place), len(counts)) for place in frequent]


def clustered_order(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of the classes, (K,), so that classes that are confused with each other are neighbours.

    The distance of two classes is the share of their clips that do not get the other's label. Classes are joined by average
    linkage, and the leaves of the tree are put in the order with the shortest way from each to the next.

    Args:
        counts: (K, K), clips by true class (rows) and predicted class (columns); at least two classes.
    """
    clips = counts.sum(axis=1)
    distances = 1 - (counts + counts.T) / np.maximum(clips[:, None] + clips, 1)
    condensed = squareform(distances, checks=False)  # without the diagonal
    tree = hierarchy.optimal_leaf_ordering(hierarchy.linkage(condensed, "average"), condensed)
    return hierarchy.leaves_list(tree).astype(np.int64)
