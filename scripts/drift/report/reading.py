"""What the report is made from: the configuration of a run, and the views of its catalog."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import duckdb
import yaml

from drift import cli, layout
from drift.config import Config, ConfigError, load

# Policies before the first iteration, which no method has made.
START = (layout.BASE, layout.WARMUP)
_FIRST = {-1: "base", 0: "warm-up"}


def iteration_name(iteration: int) -> str:
    """An iteration as people say it."""
    return _FIRST.get(iteration, f"iteration {iteration}")


class Catalog:
    """The views of a run. Raises StageError where they cannot be read from the current folder."""

    def __init__(self, path: str):
        self.path = path
        try:
            self._connection = duckdb.connect(path, read_only=True)
        except duckdb.Error as error:
            raise cli.StageError(f"{path}: no readable catalog: {error}. Make it with scripts/catalog.py.") from error

    def query(self, sql: str, *values: Any) -> list[dict]:
        """The rows of a query, as dicts by column; `values` fill its question marks."""
        try:
            cursor = self._connection.execute(sql, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except duckdb.IOException as error:
            raise cli.StageError(
                f"{self.path}: a file that the catalog names is not there: {error}. Run from the folder where the catalog "
                "was made, or make it again with scripts/catalog.py."
            ) from error


def read_config(path: str | Path) -> Config:
    """The resolved configuration of a run. Raises StageError where this version cannot read it."""
    try:
        return Config.model_validate(load(yaml.safe_load(Path(path).read_text(encoding="utf-8"))))
    except ConfigError as error:
        raise cli.StageError(f"{path}: {error}\nDelete the file and run the pipeline again, which writes it.") from error


@dataclass(frozen=True)
class Policy:
    """A policy as every view names it: iteration -1 is the base model, 0 the warm-up; both have
    seed 0, as all seeds share them."""

    model: str
    method: str
    iteration: int
    seed: int

    @classmethod
    def of(cls, row: dict) -> Self:
        """The policy that a row of a view is about."""
        return cls(row["model"], row["method"], row["iteration"], row["seed"])

    def named(self, config: Config) -> str:
        """What a sentence calls it: drift iteration 2, the warm-up; with its seed and its model
        where the run has several."""
        name = (
            f"{self.method} {iteration_name(self.iteration)}" if self.iteration > 0 else f"the {iteration_name(self.iteration)}"
        )
        name += " model" if self.iteration < 0 else ""
        name += f" (seed {self.seed})" if self.seed and len(config.seeds) > 1 else ""
        return f"{name} of {self.model}" if len(config.models) > 1 else name

    def position(self, config: Config) -> tuple[int, int, int, int]:
        """Its sort key in every table: by model, base and warm-up first, then by method, seed and
        iteration."""
        methods = [*START, *config.methods]
        return list(config.models).index(self.model), methods.index(self.method), self.seed, self.iteration


def configured(rows: Iterable[dict], config: Config) -> list[dict]:
    """Those of `rows` whose model, method, seed and iteration are in the configuration, in its
    order.

    A folder may also hold what earlier runs had more: methods, seeds, iterations, a warm-up.
    """
    starts = {layout.BASE, *(config.recipes[method].start for method in config.methods)}
    methods, seeds = {*starts, *config.methods}, {0, *config.seeds}
    kept = [
        row
        for row in rows
        if row["model"] in config.models
        and row["method"] in methods
        and row["seed"] in seeds
        and row["iteration"] <= config.iterations
    ]
    return sorted(kept, key=lambda row: Policy.of(row).position(config))
