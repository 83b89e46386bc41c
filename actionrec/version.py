"""The version of the package: read by pyproject.toml, recorded in bundles and cards."""

__version__ = "1.0.0"
