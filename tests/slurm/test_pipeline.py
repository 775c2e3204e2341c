"""The whole DAG through the shipped profile, on a real Slurm, with real vLLM and TRL."""

import pytest


def test_every_policy_is_scored(reference):
    folder, _, _ = reference
    assert (folder / "results/tiny/report.html").exists()
