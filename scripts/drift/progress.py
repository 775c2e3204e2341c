"""Progress of long stages: a line now and then, readable in a terminal and in a log alike."""

import sys

from tqdm import tqdm


class Progress(tqdm):
    """A tqdm bar that prints whole lines, at most one in five seconds: logs stay readable, and two
    jobs can share a terminal."""

    def __init__(self, *args, **options):
        options |= {"file": sys.stderr, "mininterval": 5.0, "ascii": " #", "ncols": 110, "dynamic_ncols": False}
        super().__init__(*args, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Print the bar as a line of its own."""
        print(msg or str(self), file=sys.stderr, flush=True)
