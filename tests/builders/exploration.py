"""Made-up clouds of answers, in which it is known which policy writes where; and the tables of a
run that explores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from drift import tables
from drift.exploration.answers import Answers
from drift.exploration.landscape import GRID
from drift.layout import PolicyName
from drift.metrics.resampling import Clusters
from tests.builders.texts import chat, write

WIDTH, SAMPLES = 32, 10
# Of each prompt's answers so many are good, and lie in the first GOOD clouds.
GOOD, OTHERS, GOOD_ANSWERS = 4, 8, 2
# The good clouds that each policy writes in.
WRITES = {"base": range(GOOD), "all": range(GOOD), "half": range(2), "one": range(1), "like-base": range(GOOD)}


@dataclass(frozen=True)
class Clouds:
    """Answers, and the cloud of each, (P, N, n)."""

    answers: Answers
    cloud: np.ndarray

    def truth(self, policy: int) -> float:
        """The share of the others' good answers that are in clouds where the policy writes."""
        others = np.delete(self.cloud, policy, axis=0)
        return float(np.isin(others[others < GOOD], np.unique(self.cloud[policy])).mean())


def named(method: str) -> PolicyName:
    """A policy of the first iteration, or the base model."""
    return PolicyName.parse("base") if method == "base" else PolicyName(method, 1, 42)


def clouds(prompts: int = 60, writes: dict[str, range] = WRITES, seed: int = 0) -> Clouds:
    """Answers to `prompts` prompts, each of which moves all its answers much farther than the
    clouds are from each other."""
    random = np.random.default_rng(seed)
    centres = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0][: GOOD + OTHERS]
    cloud = random.integers(GOOD, GOOD + OTHERS, size=(len(writes), prompts, SAMPLES))
    for place, good in enumerate(writes.values()):
        cloud[place, :, :GOOD_ANSWERS] = random.choice(list(good), size=(prompts, GOOD_ANSWERS))
    about = 3 * random.normal(size=(1, prompts, 1, WIDTH)) / np.sqrt(WIDTH)
    vectors = about + centres[cloud] + 0.2 * random.normal(size=(*cloud.shape, WIDTH)) / np.sqrt(WIDTH)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    names = np.array([f"p{number:04d}" for number in range(prompts)])
    answers = Answers(
        policies=[named(method) for method in writes],
        prompts=names,
        samples=np.arange(SAMPLES),
        clusters=Clusters.alone(names),
        vectors=vectors.astype(np.float32),
        rewards=(cloud < GOOD).astype(float),
        total=prompts,
    )
    return Clouds(answers, cloud)


def write_tables(answers: Answers, folder: Path) -> list[str]:
    """The tables of these answers, and the options of the stages that read them."""
    tasks = [{"prompt_id": name, "cluster": name, "prompt": chat("Why?")} for name in answers.prompts.tolist()]
    write(tasks, tables.Tasks, folder / "tasks.parquet")
    options = ["--tasks", str(folder / "tasks.parquet")]
    for place, policy in enumerate(answers.policies):
        keys = [(prompt, sample) for prompt in answers.prompts.tolist() for sample in answers.samples.tolist()]
        vectors = answers.vectors[place].reshape(-1, answers.vectors.shape[-1]).tolist()
        rewards = answers.rewards[place].ravel().tolist()
        rows = [
            {"prompt_id": prompt, "sample": sample, "part": part, "vector": vector, "truncated": False}
            for (prompt, sample), vector in zip(keys, vectors, strict=True)
            for part in ("whole", "beginning")
        ]
        write(rows, tables.Embeddings, folder / f"{policy.method}/embeddings.parquet")
        rows = [
            {"prompt_id": prompt, "sample": sample, "reward": reward}
            for (prompt, sample), reward in zip(keys, rewards, strict=True)
        ]
        write(rows, tables.AnswerRewards, folder / f"{policy.method}/rewards.parquet")
        made = [str(folder / policy.method / f"{name}.parquet") for name in ("embeddings", "rewards")]
        options += ["--policy", policy.method, str(policy.iteration), str(policy.seed), *made]
    return options


def build_exploration(root: Path, policies: Sequence[tuple[PolicyName, Path]], iteration: int) -> None:
    """What the stages of the exploration leave of the benchmark `late`: every policy with its
    folder, of which those of `iteration` and the base model are compared."""
    rows, points, grids = [], [], []
    for name, folder in policies:
        keys = {"prompt_id": "t0", "sample": 0}
        vector = keys | {"part": "whole", "vector": [1.0, 0.0], "truncated": False}
        write([vector], tables.Embeddings, folder / "eval/late/embeddings.parquet")
        write([keys | {"reward": 0.5}], tables.AnswerRewards, folder / "eval/late/rewards.parquet")
        if name.iteration in (-1, iteration):
            rows += [vars(name) | row for row in covered(0.5 + 0.1 * len(grids))]
            points += [vars(name) | keys | {"effects": "removed", "umap_seed": 1, "x": 0.5, "y": -0.5}]
            grids.append(island(name, 3 + len(grids)))
    maps = root / f"qwen-0.5b/exploration/iter{iteration}"
    for space, file in (("embedding", "coverage"), ("map", "map_coverage")):
        write([row for row in rows if row["space"] == space], tables.Exploration, maps / f"{file}.parquet")
    write(points, tables.Maps, maps / "maps.parquet")
    tables.write_table(pl.concat(grids), tables.Landscape, maps / "landscape.parquet")


def covered(value: float) -> Iterator[dict]:
    """A policy's rows of Exploration."""
    common = {"part": "whole", "quantile": 0.8, "bandwidth": 0.0, "umap_seed": 0, "n": 4, "total": 5}
    beside = {"low": value - 0.1, "high": value + 0.1, "p": 0.25}
    for space, bandwidth in (("embedding", 0.0), ("map", 0.5)):
        for effects in ("removed", "raw"):
            row = common | {"space": space, "bandwidth": bandwidth, "effects": effects, "metric": "coverage", "value": value}
            yield row | beside | {"spread": 0.03 if space == "map" else None}
    within = common | beside | {"space": "embedding", "effects": "within", "value": value}
    yield within | {"metric": "recall"}
    for metric in ("vendi", "distance", "best_of_n"):
        yield within | {"metric": metric, "quantile": 0.0}


def island(policy: PolicyName, width: float) -> pl.DataFrame:
    """A policy's Landscape: it writes around the middle; the region is to the right of it."""
    column, row = np.divmod(np.arange(GRID**2), GRID)
    density = np.exp(-(((column - 50) ** 2 + (row - 50) ** 2) / (2 * (3 * width) ** 2)))
    region = (column - 60) ** 2 + (row - 50) ** 2 < 15**2
    table = pl.DataFrame({"column": column, "row": row, "density": density, "region": region, "covered": density > 0.1})
    keys = {name: pl.lit(value) for name, value in vars(policy).items()}
    return table.with_columns(**keys).cast(dict.fromkeys(("column", "row", "iteration", "seed"), pl.Int32))
