"""Made-up clouds of answers: which policy writes where is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drift import tables
from drift.exploration.answers import Answers
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
