"""How a program ends, and what it says then."""

from pathlib import Path

import pytest

from drift import cli


def test_a_full_disk_is_named_whoever_wrote():
    import torch

    def python():
        Path("/dev/full").write_text("x")

    for write in (python, lambda: torch.save({"weights": torch.zeros(500_000)}, "/dev/full")):
        with pytest.raises(SystemExit, match="the disk is full"):
            cli.run(write)
