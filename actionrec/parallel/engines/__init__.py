"""Who makes the shards: processes of this machine (`local`), or those of a Ray cluster (`ray`). Neither changes a byte."""

from actionrec.parallel.engines import local, ray

__all__ = ["local", "ray"]
