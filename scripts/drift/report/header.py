"""The top of the page: what was run, and what a reader must know before any number."""

import json
from dataclasses import dataclass
from typing import Literal

from drift.config import Config, Section
from drift.labelers.lexical import CHECKED
from drift.metrics.display import percent
from drift.report.gate_tables import GateSummary
from drift.report.judge_tables import judged_by
from drift.report.reading import Catalog, configured


@dataclass(frozen=True)
class Notice:
    """A box above the scores."""

    title: str
    text: str
    kind: Literal["note", "warning", "failure"]


def notices(config: Config, gates: GateSummary) -> list[Notice]:
    """Judges that are not trusted, labels from a heuristic, label noise, and failed gates."""
    shown = []
    for judge in judges(config):
        if not config.evaluation.judges[judge].trusted:
            text = "The verdicts of this judge mean nothing by themselves: they show that the machinery works."
            shown.append(Notice(f"Judge {judge}", text, "warning"))
    if config.data.labelers[config.data.labeler].kind == "lexical":
        text = f"Labels come from a lexical heuristic: fixed rules on the user's next message, not from people or a model. {CHECKED}"
        shown.append(Notice("Labels", text, "note"))
    if noise := config.data.label_noise:
        text = f"{percent(noise)} of the DSAT and SAT labels were flipped on purpose (data.label_noise)."
        shown.append(Notice("Label noise", text, "warning"))
    if gates.failed:
        text = f"{len(gates.failed)} of {gates.total} correctness gates failed; do not trust the policies below."
        shown.append(Notice("Gates", text, "failure"))
    return shown


def judge_notices(scores: list[dict], refused: dict[tuple[str, str], str]) -> list[Notice]:
    """Scores that are withheld (`refused`: why, by benchmark and judge), letters without
    probabilities, and benchmarks with several judges."""
    shown = [Notice("Scores withheld", text, "failure") for text in refused.values()]
    written = {(row["benchmark"], row["judge"]) for row in scores if "written_win_rate" in row["metric"]}
    for benchmark, judge in sorted(written):
        text = (
            f"{judge} gives no probabilities for {benchmark}, so the letters that it wrote count. Their share is a different "
            "measure from a win rate over probabilities; length control, which is made for those, is left out."
        )
        shown.append(Notice("Letters without probabilities", text, "note"))
    for benchmark in dict.fromkeys(row["benchmark"] for row in scores):
        names = sorted({row["judge"] for row in scores if row["benchmark"] == benchmark and row["judge"]})
        if len(names) > 1:
            text = (
                f"{benchmark} was judged by {' and by '.join(names)}. Each has columns and curves of its own: two judges of the "
                "same answers differ by more than the methods do, so their scores are not put in one column."
            )
            shown.append(Notice("Several judges", text, "note"))
    return shown


def facts(config: Config) -> list[tuple[str, list[str]]]:
    """What was run, in a few lines: a name and its values."""
    labeler = config.data.labeler
    kind = config.data.labelers[labeler].kind
    return [
        ("Models", list(config.models)),
        ("Methods", config.methods),
        ("Iterations", [f"K = {config.iterations}, after a warm-up on the corrections"]),
        ("Sources", [f"{name} ({source.kind})" for name, source in config.data.sources.items()]),
        ("Labels", [f"{labeler} ({'lexical heuristic' if kind == 'lexical' else kind})"]),
        ("Judges", judges(config)),
        ("Sampling", values(config.sampling, "temperature", "top_p", "max_tokens", "cut", "context")),
        ("Training", values(config.training, "beta", "learning_rate", "epochs", "global_batch", "max_length")),
        ("Seed", [str(config.seed)]),
    ]


def judges(config: Config) -> list[str]:
    """The judges that judge a benchmark of the run, by name."""
    return sorted({judge for _, judge in judged_by(config)})


def values(section: Section, *keys: str) -> list[str]:
    """These keys of a section, each with its value."""
    return [f"{key} {getattr(section, key)}" for key in keys]


def versions(catalog: Catalog, config: Config) -> list[tuple[str, str]]:
    """Library versions of all trained policies; several where these differ."""
    by_library: dict[str, set[str]] = {}
    for policy in configured(catalog.query("SELECT model, method, iteration, versions FROM policies"), config):
        for library, version in json.loads(policy["versions"] or "{}").items():
            by_library.setdefault(library, set()).add(str(version))
    return [(library, ", ".join(sorted(used))) for library, used in sorted(by_library.items())]
