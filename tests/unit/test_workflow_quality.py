"""Who rates pairs, and what the rules are told of it."""

import json
from pathlib import Path

import pytest

from drift import layout
from drift.config import load
from drift.workflow.generation import Generation
from drift.workflow.iterations import Iterations
from drift.workflow.judges import Judges
from drift.workflow.quality import PairQuality
from drift.workflow.report import ReportInputs
from tests.builders.configurations import ENDPOINT, minimal, refusal
from tests.conftest import REPOSITORY, tiny_config

PATHS = layout.paths("results/tiny")
TEMPLATES = REPOSITORY / "scripts/templates"


class Wildcards:
    """The wildcards of a job about one rater."""

    model, trained = "tiny", "drift/seed1/iter2"

    def __init__(self, rater: str):
        self.rater = rater

    def items(self):
        """As snakemake's."""
        return {"model": self.model, "trained": self.trained, "rater": self.rater}.items()


def configuration(rater=None, pairs: int = 64) -> dict:
    config = tiny_config(Path("/models/tiny"), Path("logs.jsonl"))
    own = {"path": "/models/own", "verdict": "choice", "votes": 2, "decoding": {"temperature": 1.0}}
    own |= {"template": str(TEMPLATES / "judge-choice.txt")}
    scorer = {"endpoint": ENDPOINT, "verdict": "score", "votes": 3, "template": str(TEMPLATES / "judge-score.txt")}
    config["evaluation"]["judges"] |= {"own": own, "scorer": scorer}
    config["rankers"] = {"reward": {"path": "/models/reward", "max_length": 99}}
    config["training"]["pair_quality"] = {"rater": rater, "pairs": pairs}
    return load(config)


@pytest.fixture
def quality() -> PairQuality:
    config = configuration()
    generation = Generation(config, PATHS, Iterations(config, PATHS), pinned=lambda path: f"pinned {path}")
    return PairQuality(config, PATHS, Judges(config, PATHS, TEMPLATES), generation, pinned=lambda path: f"pinned {path}")


@pytest.mark.parametrize(
    ("judge", "verdict", "votes", "template"),
    [
        ("tiny", "letter", 1, "judge-letter.txt"),
        ("own", "choice", 2, "judge-choice.txt"),
        ("scorer", "letter", 1, "judge-letter.txt"),
    ],
)
def test_a_judge_compares_both_sides_in_both_orders(quality, judge, verdict, votes, template):
    """By its own verdict and prompt where they are about two answers, else by a letter and ours."""
    judging = json.loads(quality.question_settings(Wildcards(judge)))["judging"]
    assert (judging["verdict"], judging["votes"], judging["order"], judging["pairwise"]) == (verdict, votes, "both", True)
    assert quality.template(Wildcards(judge), None) == TEMPLATES / template
    assert quality.completions(Wildcards(judge)) == [
        f"results/tiny/tiny/drift/seed1/iter2/quality/{judge}/completions/1-of-1.parquet"
    ]


def test_a_judge_is_the_model_that_is_improved_its_own_or_behind_an_endpoint(quality):
    assert quality.model(Wildcards("tiny"))["policy"] == "pinned results/tiny/tiny/base/policy"
    assert quality.model(Wildcards("own"))["manifest"] == "results/tiny/judges/own/policy.json"
    assert quality.model(Wildcards("scorer")) == {"manifest": [], "policy": []}


def test_what_is_read_of_a_rater_depends_on_its_kind(quality):
    folder = "results/tiny/tiny/drift/seed1/iter2/quality"
    assert quality.ratings(Wildcards("own")) == {"judgments": f"{folder}/own/judgments.parquet"}
    assert quality.ratings(Wildcards("reward")) == {"scores": f"{folder}/reward/scores.parquet"}
    assert quality.ranker_path(Wildcards("reward")) == "pinned /models/reward"
    assert json.loads(quality.ranker_settings(Wildcards("reward")))["max_length"] == 99


@pytest.mark.parametrize(
    ("rater", "pairs", "raters"),
    [(None, 64, ["tiny"]), ("reward", 64, ["reward"]), (["own", "reward"], 8, ["own", "reward"]), ("own", 0, [])],
)
def test_the_pairs_of_every_trained_policy_are_rated_by_each_rater(rater, pairs, raters):
    inputs = ReportInputs(configuration(rater, pairs), PATHS, ["tiny/base", "tiny/warmup", "tiny/drift/seed1/iter1"])
    assert inputs.pair_quality(None) == [
        f"results/tiny/tiny/{policy}/quality/{name}/quality.parquet"
        for policy in ("warmup", "drift/seed1/iter1")
        for name in raters
    ]


def test_a_rater_without_a_row_is_refused_with_the_nearest_one():
    said = refusal(minimal(training={"pair_quality": {"rater": ["llama", "lama"]}}))
    assert "training.pair_quality.rater: there is no 'lama', did you mean 'llama'?" in said
