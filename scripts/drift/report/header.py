"""The top of the page: what was run."""

import json

from drift.config import Config, Section, warms_up
from drift.report.judge_tables import judges
from drift.report.reading import Catalog, configured


def facts(config: Config) -> list[tuple[str, list[str]]]:
    """What was run, in a few lines: a name and its values."""
    labeler = config.data.labeler
    kind = config.data.labelers[labeler].kind
    warm = warms_up(config.model_dump(mode="json"))
    return [
        ("Models", list(config.models)),
        ("Methods", config.methods),
        ("Iterations", [f"K = {config.iterations}" + (", after a warm-up on the corrections" if warm else "")]),
        ("Sources", [f"{name} ({source.kind})" for name, source in config.data.sources.items()]),
        ("Labels", [f"{labeler} ({'lexical heuristic' if kind == 'lexical' else kind})"]),
        ("Judges", judges(config) or ["none"]),
        ("Sampling", values(config.sampling, "temperature", "top_p", "max_tokens", "cut", "context")),
        ("Training", values(config.training, "beta", "learning_rate", "epochs", "global_batch", "max_length")),
        *own_values(config),
        ("Seeds", [*map(str, config.seeds), f"of the data {config.data.seed}"]),
    ]


def own_values(config: Config) -> list[tuple[str, list[str]]]:
    """What methods have of their own in training and sampling: a name and its values, a method
    each."""
    found = []
    for method in config.methods:
        recipe, own = config.recipes[method], []
        for overrides, section in ((recipe.sampling, config.sampling), (recipe.training, config.training)):
            keys = [key for key in type(overrides).model_fields if key in overrides.model_fields_set]
            own += [key for key in values(overrides, *keys) if key not in values(section, *keys)]
        if own:
            found.append((f"Of {method} alone", own))
    return found


def values(section: Section, *keys: str) -> list[str]:
    """These keys of a section, each with its value."""
    return [f"{key} {getattr(section, key)}" for key in keys]


def versions(catalog: Catalog, config: Config) -> list[tuple[str, str]]:
    """Library versions of all trained policies; several where these differ."""
    by_library: dict[str, set[str]] = {}
    for policy in configured(catalog.query("SELECT model, method, iteration, seed, versions FROM policies"), config):
        for library, version in json.loads(policy["versions"] or "{}").items():
            by_library.setdefault(library, set()).add(str(version))
    return [(library, ", ".join(sorted(used))) for library, used in sorted(by_library.items())]
