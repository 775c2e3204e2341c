"""What the stages share; docs/architecture.md describes the packages and their layers."""

import os

# No stage uses it, so a new version reruns nothing (workflow/fingerprint.py).
__version__ = "0.1.0"

# Stages work on what is on disk. Only fetching reaches the network (compute nodes often cannot),
# and telemetry is off.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
