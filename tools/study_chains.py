"""What is kept of every policy of the study, in docs/study/chains: its numbers can be made again
without a run, and a run on another machine adds the chains that are missing.

A chain is a method with a seed: its iterations follow from each other and from nothing of another
chain. Its file has a row per iteration, and in each column the rows of one table of the results.
base.parquet has the base model's answers, and of the users what the numbers need.
"""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from drift import cli
from drift.files import atomic_path
from drift.layout import BASE, PolicyName

if TYPE_CHECKING:
    from study import Study

# What study.py reads of a policy and of the users, by the names of the layout: all columns, or
# these.
_ANSWERS = dict.fromkeys(("responses", "checks"))
_TRAINED = _ANSWERS | {"behaviour": None, "pair_scores": None, "pairs": ("pair_id", "chosen_tokens", "rejected_tokens")}
_USERS = {"tasks": None, "corrections": None} | dict.fromkeys(("dsat", "sat"), ("prompt_id", "cluster", "split"))


def _row(study: "Study", name: PolicyName, kinds: dict[str, tuple[str, ...] | None]) -> pl.DataFrame:
    """The tables of a policy in one row."""
    cells = [
        pl.read_parquet(study.table(kind, name), columns=columns).select(pl.struct(pl.all()).implode().alias(kind))
        for kind, columns in kinds.items()
    ]
    return pl.concat([pl.DataFrame({"iteration": [name.iteration]}), *cells], how="horizontal")


def _write(rows: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        rows.write_parquet(temporary, compression="zstd", compression_level=19)


def save(study: "Study", folder: Path) -> list[str]:
    """Write to `folder` the chains of a study's results that are missing or shorter there. Returns
    a line on each that is there as well: how many of its policies answer as they did.

    Raises StageError where the results are of other users, or of another base model.
    """
    base, *trained = study.finished()
    users = _row(study, base, _USERS | _ANSWERS)
    known = folder / f"{BASE}.parquet"
    if not known.is_file():
        _write(users, known)
    elif different := [kind for kind in users.columns if not users[kind].equals(pl.read_parquet(known)[kind])]:
        raise cli.StageError(
            f"{study.paths.tasks.split('/data/')[0]} and {known} differ in {', '.join(different)}: they are of other users, of "
            f"another base model, or of a CPU that rounds otherwise (without bf16). Use the configuration, the locked environment and "
            f"a CPU like those that {folder} was made with, or give other --tables"
        )
    told = []
    for (method, seed), names in groupby(
        sorted(trained, key=lambda name: (name.method, name.seed)), lambda n: (n.method, n.seed)
    ):
        path = folder / f"{method}-seed{seed}.parquet"
        rows = pl.concat([_row(study, name, _TRAINED) for name in sorted(names, key=lambda name: name.iteration)])
        before = pl.read_parquet(path) if path.is_file() else rows.clear()
        shared = rows.join(before, on="iteration", suffix="_before", maintain_order="left")
        same = sum(one == other for one, other in shared.select("responses", "responses_before").iter_rows())
        if shared.height:
            told.append(f"{path.stem}: {same} of {shared.height} policies that are there already answer the same")
        if rows.height > before.height:
            _write(rows, path)
    return told


def unpack(folder: Path, study: "Study") -> None:
    """Write the chains of `folder` to where `study` has its results."""
    for path in sorted(folder.glob("*.parquet")):
        method, _, seed = path.stem.rpartition("-seed")
        for row in pl.read_parquet(path).iter_slices(1):
            name = PolicyName(method, row["iteration"].item(), int(seed)) if method else PolicyName(BASE, -1, 0)
            for kind in row.columns[1:]:
                table = study.table(kind, name)
                table.parent.mkdir(parents=True, exist_ok=True)
                row[kind].explode(keep_nulls=False, empty_as_null=False).struct.unnest().write_parquet(table)
