"""The report's numbers of the exploration: what each policy covers of the others' good answers."""

from collections.abc import Callable
from dataclasses import dataclass

from drift.config import Config
from drift.metrics.display import hundredths, percent, plain
from drift.report.landscapes import Picture, pictures
from drift.report.metric_labels import interval, probability
from drift.report.reading import Catalog, Policy, configured

# What counts, as scripts/embedding_coverage.py and scripts/landscape.py have it.
_QUANTILE, _BANDWIDTH = 0.8, 0.5


@dataclass(frozen=True)
class Column:
    """A measure as a column: where it stands in the view, and how it is shown."""

    label: str
    help: str
    key: dict[str, object]
    text: Callable[[float], str] = percent


def _column(label: str, help_: str, metric: str, text: Callable[[float], str] = percent, **key: object) -> Column:
    common = {"space": "embedding", "part": "whole", "effects": "within", "quantile": 0.0, "bandwidth": 0.0, "umap_seed": 0}
    return Column(label, help_, common | {"metric": metric} | key, text)


_VECTORS = {"effects": "removed", "quantile": _QUANTILE}
_MAPS = _VECTORS | {"space": "map", "bandwidth": _BANDWIDTH}
COLUMNS = (
    _column(
        "Coverage, vectors",
        "share of the others' high-reward answers near which the policy writes, by the vectors; effects of prompts removed",
        "coverage",
        **_VECTORS,
    ),
    _column(
        "Coverage, beginnings", "the same by the first 128 tokens of answers", "coverage", **_VECTORS | {"part": "beginning"}
    ),
    _column("Coverage, maps", "the same on maps by UMAP, by mass of the others' density; mean over maps", "coverage", **_MAPS),
    _column("Coverage, paper-like", "on maps of the vectors as they are", "coverage", **_MAPS | {"effects": "raw"}),
    _column("Recall", "the same in each prompt by itself, as near as an answer's third-nearest", "recall", quantile=_QUANTILE),
    _column("Vendi score", "as of how many different answers to a prompt", "vendi", hundredths),
    _column("Distance", "mean cosine distance of two answers to a prompt", "distance", hundredths),
    _column("Best reward", "the highest reward of a policy's answers to a prompt, mean", "best_of_n", plain),
)
# Other quantiles and bandwidths than those that count.
VARIANTS = (
    *(
        _column(f"vectors, from {quantile:.0%}", "coverage by the vectors", "coverage", effects="removed", quantile=quantile)
        for quantile in (0.7, 0.8, 0.9)
    ),
    *(
        _column(
            f"maps, from {quantile:.0%}, bandwidth {bandwidth:g}",
            "coverage on maps",
            "coverage",
            **_MAPS | {"quantile": quantile, "bandwidth": bandwidth},
        )
        for bandwidth in (0.25, 0.5, 1.0, 2.0)
        for quantile in (0.7, 0.8, 0.9)
    ),
)


@dataclass(frozen=True)
class Cell:
    """A measure of a policy; None: there is none. `beside`: interval, spread over maps and test."""

    value: str | None
    beside: list[str]


@dataclass(frozen=True)
class Explored:
    """The policies of one iteration of a model, on maps that they share."""

    model: str
    iteration: int
    rows: list[tuple[Policy, list[Cell]]]
    variants: list[tuple[Policy, list[Cell]]]
    pictures: list[tuple[Picture, str]]  # each with what it covers, in words
    n: int
    total: int


def explored(catalog: Catalog, config: Config) -> list[Explored]:
    """What is shown of each explored iteration; none where nothing is explored."""
    if config.exploration is None:
        return []
    rows = configured(catalog.query("SELECT * FROM exploration"), config)
    drawn = pictures(catalog, config)
    iterations = config.exploration.iterations or [config.iterations]
    found = []
    for model in config.models:
        for iteration in sorted(set(iterations)):
            own = [row for row in rows if (row["model"], row["explored"]) == (model, iteration)]
            if own:
                shown = [one for one in drawn if (one.policy.model, one.explored) == (model, iteration)]
                found.append(_explored(model, iteration, own, shown))
    return found


def _explored(model: str, iteration: int, rows: list[dict], drawn: list[Picture]) -> Explored:
    by_policy: dict[Policy, dict[tuple, dict]] = {}
    keys = list(COLUMNS[0].key)
    for row in rows:
        by_policy.setdefault(Policy.of(row), {})[tuple(row[key] for key in keys)] = row

    def cells(policy: Policy, columns: tuple[Column, ...]) -> list[Cell]:
        measured = by_policy[policy]
        return [_cell(measured.get(tuple(column.key[key] for key in keys)), column.text) for column in columns]

    table = [(policy, cells(policy, COLUMNS)) for policy in by_policy]
    by_name = {column.label: place for place, column in enumerate(COLUMNS)}
    words = {}
    for policy, row in table:
        maps, vectors = (row[by_name[f"Coverage, {space}"]].value or "\N{EN DASH}" for space in ("maps", "vectors"))
        words[policy] = f"{maps} on maps, {vectors} by vectors"
    return Explored(
        model=model,
        iteration=iteration,
        rows=table,
        variants=[(policy, cells(policy, VARIANTS)) for policy in by_policy],
        pictures=[(one, words[one.policy]) for one in drawn],
        n=max(row["n"] for row in rows),
        total=rows[0]["total"],
    )


def _cell(row: dict | None, text: Callable[[float], str]) -> Cell:
    if row is None or row["value"] is None:
        return Cell(None, [])
    parts = [interval(row, text)]
    parts.append(row["spread"] and f"\N{PLUS-MINUS SIGN}{text(row['spread'])} of maps")
    parts.append(None if row["p"] is None else f"p {probability(row['p'])}")
    return Cell(text(row["value"]), [part for part in parts if part])
