"""Engines that compute shards: worker processes of this machine (`local`) or of a Ray cluster (`ray`), with the same bytes."""

from actionrec.parallel.engines import local, ray

__all__ = ["local", "ray"]
