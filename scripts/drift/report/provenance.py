"""Where a run comes from: which code, when, on what; and what it took in all."""

from collections.abc import Iterable
from dataclasses import dataclass

from drift.config import Config
from drift.report.reading import Catalog, configured

# What models did here: training, and generation that no endpoint did.
_WORK = """
    SELECT model, method, iteration, seed, commit, finished, device, devices, seconds
    FROM policies
    UNION ALL BY NAME
    SELECT model, method, iteration, seed, commit, finished, device, devices, seconds + coalesce(start_seconds, 0) AS seconds
    FROM generations WHERE calls IS NULL
"""
_SPENT = "SELECT sum(usd) AS usd, sum(prompt_tokens) AS read, sum(completion_tokens) AS written FROM generations"


@dataclass(frozen=True)
class Device:
    """A kind of device, and how long models worked on it."""

    name: str
    count: int  # side by side in one job, at most
    hours: float

    @property
    def kind(self) -> str:
        """What its hours are called."""
        return "CPU hours" if self.name.startswith("CPU") else "GPU hours"


@dataclass(frozen=True)
class Provenance:
    """Which code made a run, when, and on what."""

    commits: list[str]
    first: str | None  # dates, UTC
    last: str | None
    devices: list[Device]
    unrecorded_hours: float  # of models' work in files that do not name their device
    usd: float | None
    read: int
    written: int


def provenance(catalog: Catalog, config: Config) -> Provenance:
    """What the manifests of the policies and of the shards say."""
    work = catalog.query(_WORK)
    # What all policies share (a judge's validation, labels) has no method.
    rows = [row for row in work if row["method"] is None] + configured(
        (row for row in work if row["method"] is not None), config
    )
    rows = [row for row in rows if row["seconds"] is not None]
    (spent,) = catalog.query(_SPENT)
    days = sorted(row["finished"][:10] for row in rows if row["finished"])
    return Provenance(
        commits=sorted({row["commit"] for row in rows if row["commit"]}),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        devices=_devices(row for row in rows if row["device"]),
        unrecorded_hours=sum(row["seconds"] for row in rows if not row["device"]) / 3600,
        usd=spent["usd"],
        read=spent["read"] or 0,
        written=spent["written"] or 0,
    )


def _devices(rows: Iterable[dict]) -> list[Device]:
    by_name: dict[str, list[dict]] = {}
    for row in rows:
        by_name.setdefault(row["device"], []).append(row)
    return [
        Device(name, max(row["devices"] for row in used), sum(row["seconds"] * row["devices"] for row in used) / 3600)
        for name, used in sorted(by_name.items())
    ]
