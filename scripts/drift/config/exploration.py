"""How much of what is worth writing each policy writes: whether and how that is measured."""

from collections.abc import Mapping

from pydantic import Field

from drift import plugins
from drift.config.base import Name, Section, unknown
from drift.config.evaluation import Benchmark, in_words
from drift.config.recipes import Ranker


class Embedder(Section):
    """The encoder whose vectors answers are compared by."""

    path: str = Field(description="as models.NAME.path: an encoder, such as those of sentence-transformers")
    max_length: int | None = Field(
        None, ge=16, description="the beginning of an answer that is read, tokens; null: as much as the encoder reads"
    )


class Exploration(Section):
    """What the answers of an iteration's policies, and of the base model, to one benchmark cover of
    each other's good ones (the paper's section 4.3). Changing it trains nothing again."""

    benchmark: Name = Field(
        description="whose answers are mapped: a row of evaluation.benchmarks that is answered in words, with several samples"
    )
    iterations: list[int] | None = Field(
        None, min_length=1, description="whose policies are mapped, each on maps of its own; null: the last"
    )
    embedder: Embedder = Field(description="what makes vectors of answers")
    reward: str | None = Field(
        None,
        description="how good an answer is: a row of rankers; null: the share of its checks that it keeps, where code checks the "
        "benchmark",
    )
    neighbours: int = Field(15, ge=2, description="UMAP's n_neighbors; a benchmark of fewer prompts is refused")
    maps: int = Field(5, ge=1, description="UMAPs, with seeds 1, 2, ...: how much of a coverage is chance of the map")


def exploration_fault(
    section: Exploration, known: Mapping[str, Benchmark], rankers: Mapping[str, Ranker], iterations: int
) -> str | None:
    """What of the section does not fit the rest of the configuration, and how to fix it; None where
    all does."""
    if section.benchmark not in known:
        return f"benchmark: {unknown(section.benchmark, known)}"
    row = known[section.benchmark]
    where = f"evaluation.benchmarks.{section.benchmark}"
    if not in_words(row.kind):
        return f"benchmark: {where} is not answered in words, and there is nothing to map; name another"
    if row.samples < 2:
        return f"benchmark: one answer a task says nothing of how far a policy explores; set {where}.samples, e.g. to 8"
    if row.max_tasks is not None and row.max_tasks < section.neighbours:
        return (
            f"neighbours {section.neighbours} are more than the {row.max_tasks} prompts of {where}: the neighbours of an "
            "answer would be answers to its own prompt; raise max_tasks"
        )
    if late := [number for number in section.iterations or [] if not 1 <= number <= iterations]:
        return f"iterations: there is no iteration {late[0]}; the run has 1 to {iterations}"
    return _reward_fault(section, row, rankers)


def _reward_fault(section: Exploration, row: Benchmark, rankers: Mapping[str, Ranker]) -> str | None:
    if section.reward is None:
        if hasattr(plugins.load(plugins.BENCHMARKS, row.kind), "check"):
            return None
        return (
            f"reward: no code checks answers to benchmarks of kind {row.kind}, so that they have no rewards; name a row of "
            "rankers"
        )
    if section.reward not in rankers:
        return f"reward: {unknown(section.reward, rankers) if rankers else 'there are no rankers; add a row to them'}"
    if rankers[section.reward].kind == "medoid":
        return "reward: a medoid says how alike answers are, not how good; name another row of rankers"
    return None
