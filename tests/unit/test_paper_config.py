"""The paper's run as a file of its own, and what the shipped configuration says of the
differences."""

import re

import pytest
import yaml

from drift.config import load
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "config.yaml"
# Tables whose rows say what they are, and the name of the run.
NAMED = ("run", "recipes", "evaluation")


@pytest.fixture(scope="module")
def paper() -> dict:
    """The validated configuration of the paper's run."""
    return load(yaml.safe_load((REPOSITORY / "examples/paper.yaml").read_text()))


def flat(values: dict, path: str = "") -> dict[str, object]:
    """The values of a configuration by dotted key; a table that is empty is a value."""
    found = {}
    for key, value in values.items():
        found |= flat(value, f"{path}{key}.") if isinstance(value, dict) and value else {f"{path}{key}": value}
    return found


def comments() -> dict[str, str]:
    """What the shipped configuration says at each key: beside it, in the lines that go on below
    that, and in those of the sections around it."""
    said: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in SHIPPED.read_text().splitlines():
        if match := re.match(r"( *)([\w.-]+):(?: .*?)?(?:#(.*))?$", line):
            depth = len(match[1])
            path = [(indent, key) for indent, key in path if indent < depth]
            around = said.get(".".join(key for _, key in path), "")
            path.append((depth, match[2]))
            said[".".join(key for _, key in path)] = f"{around} {match[3] or ''}"
        elif (match := re.match(r" {20,}#(.*)$", line)) and path:
            said[".".join(key for _, key in path)] += match[1]
    return said


def test_the_papers_run_has_none_of_our_safe_defaults(paper):
    filters = paper["data"]["filters"]
    assert not any(value for name, value in filters.items() if name.startswith("drop_"))
    limits = ("near_duplicates", "max_per_user", "max_per_template")
    assert [filters[name] for name in limits] == [None] * 3
    assert set(paper["data"]["decontamination"].values()) == {None}
    assert (paper["data"]["pick"], paper["prompting"]["style"]) == ("first", "paper")
    assert set(paper["data"]["allusions"].values()) == {"keep"}


def test_the_papers_run_trains_by_the_released_values(paper):
    released = {"beta": 0.1, "learning_rate": 5e-7, "schedule": "linear", "schedule_warmup": 0.1, "optimizer": "rmsprop"}
    released |= {"epochs": 1, "warmup_epochs": 3, "device_batch": 4, "max_length": 2048, "precision": "bf16", "lora": None}
    released |= {"losses": {"sigmoid": 1.0, "sft": 0.001}, "reference": "previous"}
    assert {key: paper["training"][key] for key in released} == released
    assert [paper["sampling"][key] for key in ("temperature", "top_p", "top_k", "repetition_penalty")] == [0.7, 0.9, 20, 1.05]
    assert all(row["training"] == row["sampling"] == {} for row in paper["recipes"].values())


def test_every_difference_from_the_papers_run_is_named_at_its_key(paper):
    shipped = flat(load(yaml.safe_load(SHIPPED.read_text())))
    theirs = flat({key: value for key, value in paper.items() if key not in NAMED})
    different = [key for key, value in theirs.items() if shipped.get(key, value) != value]
    assert "data.filters.drop_refusals" in different
    said = comments()
    assert [key for key in different if "paper:" not in said.get(key, "")] == []
