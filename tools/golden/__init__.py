"""Published figures recomputed with the metrics of the pipeline: see tools/check_golden.py."""
