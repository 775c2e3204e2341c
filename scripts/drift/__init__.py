"""What several stages share: table schemas, configuration, chat rendering, engines, statistics, manifests."""

import os

# Stages work on what is on disk. Only fetching reaches out (compute nodes often cannot), and nobody is phoned home to.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
