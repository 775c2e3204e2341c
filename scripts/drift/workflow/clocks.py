"""Files whose times are ahead of the clock.

Snakemake removes what a job has made where one of its inputs is newer: a log that was copied from
a machine whose clock is ahead would cost every table that is made of it. So such files are named
before anything runs.
"""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

# Seconds that clocks of machines that share storage may differ.
TOLERANCE = 2.0
# Folders of a run whose files nothing is made of.
_ASIDE = {"state", "logs", "timings"}


class ClockError(Exception):
    """Files have times that are still to come; the message names them and the cure."""


def refuse_times_ahead(inputs: Iterable[str], results: str) -> None:
    """Raise ClockError where a local input or a finished file of the run is from the future."""
    now = time.time()
    ahead = {str(path): lead for path, written in _times(inputs, results) if (lead := written - now) > TOLERANCE}
    if not ahead:
        return
    named = "".join(f"\n  - {path}: {lead:.0f} s ahead" for path, lead in sorted(ahead.items(), key=lambda one: -one[1])[:5])
    more = f"\n  and {len(ahead) - 5} more" if len(ahead) > 5 else ""
    raise ClockError(
        f"{len(ahead)} files have times ahead of this machine's clock, and snakemake would remove what is made of them:"
        f"{named}{more}\nCheck the clock (date), then give them the time of now: touch FILE"
    )


def _times(inputs: Iterable[str], results: str) -> Iterator[tuple[Path, float]]:
    """Local inputs and finished files of the run, with their times."""
    for address in inputs:
        yield from _below(Path(address))
    root = Path(results)
    for part in root.iterdir() if root.is_dir() else ():
        if part.name not in _ASIDE:
            yield from _below(part)


def _below(path: Path) -> Iterator[tuple[Path, float]]:
    """A file or folder and all in it; what cannot be looked at is left to snakemake."""
    try:
        yield path, path.stat().st_mtime
        entries = list(os.scandir(path)) if path.is_dir() else []
    except OSError:
        return
    for entry in entries:
        yield from _below(Path(entry.path))
