"""Engines that compute shards, with the same bytes: worker processes of this machine (`local`) or of a Ray cluster (`ray`), or this
process (`stream`)."""

from actionrec.parallel.engines import local, ray, stream

__all__ = ["local", "ray", "stream"]
