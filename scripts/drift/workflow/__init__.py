"""What the rules import, and all that they import.

Rules are read by snakemake, whose environment has the standard library and pydantic, but none of
the stages' libraries: nothing here imports polars or torch, not even through another module.
"""

from drift import layout, plugins
from drift.config import ConfigError, load

__all__ = ["ConfigError", "layout", "load", "plugins"]
