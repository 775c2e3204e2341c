"""What the stages share; docs/architecture.md describes the packages and their layers."""

import os

from drift.version import VERSION as __version__  # noqa: N811 - the name that Python fixes

__all__ = ["__version__"]

# Stages work on what is on disk. Only fetching reaches the network (compute nodes often cannot), and
# telemetry is off.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
