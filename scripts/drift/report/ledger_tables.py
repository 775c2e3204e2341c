"""The report's ledger: what became of every row, lineage by lineage, with bars for the drops."""

from dataclasses import dataclass, field

# A row's way through the programs, for the order of the lineages.
STAGES = ("turns", "labels", "pools", "prompts", "pairs", "unpaired")


@dataclass(frozen=True)
class Drop:
    """A step that dropped rows; `kept` and `lost` are percentages of the rows of its stretch."""

    stage: str
    reason: str
    dropped: int
    rows_out: int
    kept: float
    lost: float


@dataclass
class Stretch:
    """Steps of a lineage that count in one unit."""

    rows: int
    unit: str
    drops: list[Drop] = field(default_factory=list)
    clean: list[str] = field(default_factory=list)  # checks that dropped nothing
    regrouped: str | None = None  # how its rows became those of the next stretch

    def add(self, step: dict) -> None:
        """Add a step of the ledger that drops rows, or that could have."""
        if step["dropped"] == 0:
            self.clean.append(step["reason"])
            return
        percent = 100 / (self.rows or 1)
        kept, lost = percent * step["rows_out"], percent * step["dropped"]
        self.drops.append(Drop(step["stage"], step["reason"], step["dropped"], step["rows_out"], kept, lost))


@dataclass(frozen=True)
class Lineage:
    """A source, a pool or a policy's pairs or replies, from its first step to its last."""

    name: str
    rows_in: int
    unit_in: str
    rows_out: int
    unit_out: str
    stretches: list[Stretch]


def ledger_lineages(rows: list[dict]) -> list[Lineage]:
    """The lineages of a Ledger table (sorted by lineage and step), from raw records to pairs."""
    steps: dict[str, list[dict]] = {}
    for row in rows:
        steps.setdefault(row["lineage"], []).append(row)

    def position(name: str) -> tuple:
        return STAGES.index(steps[name][0]["stage"]), not name.endswith("/warmup"), name

    return [lineage(name, steps[name]) for name in sorted(steps, key=position)]


def lineage(name: str, steps: list[dict]) -> Lineage:
    """One lineage, cut into stretches where its rows are regrouped."""
    first, last = steps[0], steps[-1]
    stretches = [Stretch(first["rows_in"], first["unit_in"])]
    for step in steps:
        if step["event"] == "regroup":
            stretches[-1].regrouped = step["reason"]
            stretches.append(Stretch(step["rows_out"], step["unit_out"]))
        else:
            stretches[-1].add(step)
    return Lineage(name, first["rows_in"], first["unit_in"], last["rows_out"], last["unit_out"], stretches)
