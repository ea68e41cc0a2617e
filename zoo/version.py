"""The version of this distribution, as pyproject.toml says it."""

__version__ = "0.1.0"
