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
_SPENT = "SELECT model, method, iteration, seed, usd, prompt_tokens AS read, completion_tokens AS written FROM generations"


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
    rows = [row for row in _of_run(catalog.query(_WORK), config) if row["seconds"] is not None]
    spent = _of_run(catalog.query(_SPENT), config)
    usd = [row["usd"] for row in spent if row["usd"] is not None]
    days = sorted(row["finished"][:10] for row in rows if row["finished"])
    return Provenance(
        commits=sorted({row["commit"] for row in rows if row["commit"]}),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        devices=_devices(row for row in rows if row["device"]),
        unrecorded_hours=sum(row["seconds"] for row in rows if not row["device"]) / 3600,
        usd=sum(usd) if usd else None,
        read=sum(row["read"] or 0 for row in spent),
        written=sum(row["written"] or 0 for row in spent),
    )


def _of_run(rows: list[dict], config: Config) -> list[dict]:
    """Those of the configured policies, and of what all policies share (a judge's validation,
    labels), which has no method."""
    return [row for row in rows if row["method"] is None] + configured(
        (row for row in rows if row["method"] is not None), config
    )


def _devices(rows: Iterable[dict]) -> list[Device]:
    by_name: dict[str, list[dict]] = {}
    for row in rows:
        by_name.setdefault(row["device"], []).append(row)
    return [
        Device(name, max(row["devices"] for row in used), sum(row["seconds"] * row["devices"] for row in used) / 3600)
        for name, used in sorted(by_name.items())
    ]
