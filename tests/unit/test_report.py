"""The report shows the numbers of the tables, and nothing that a conversation says can act in it."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

import report
from drift import cli, tables
from drift.config import Benchmark, Evaluation
from drift.ledger import LedgerBook
from drift.report import charts, cost_tables, metric_labels, score_tables
from tests.builders.scores import HELDOUT, score_arguments

SCRIPTS = Path(report.__file__).parent
HOSTILE = (
    "<script>alert(1)</script>",
    "</div></main></html><img src=x onerror=alert(2)>",
    "{{7*7}} {% for x in y %} ${6*6}",
    "مرحبا، لماذا لم تجب عن سؤالي؟ \u202egnp.exe",
    "😀 it's \"quoted\" & 'single' <b onclick='x'>bold</b> \x00\x1b[31m",
    "<svg/onload=alert(3)> <a href='javascript:alert(4)'>x</a> <!-- ",
)
METHODS = ("drift", "spin")
SIDES = {"drift": ("dsat", "sampled", "user"), "spin": ("sat", "user", "sampled")}


def evaluation(**judge) -> dict:
    """The evaluation of a resolved configuration with one judge."""
    section = {"judge": "tiny", "judges": {"tiny": {"path": "hf:x/y@z"} | judge}, "bootstrap": 100}
    return Evaluation.model_validate(section).model_dump(mode="json")


CONFIG = {
    "run": "demo",
    "seed": 42,
    "iterations": 2,
    "models": {"qwen-0.5b": {"path": "hf:Qwen/Qwen2.5-0.5B-Instruct@main"}},
    "methods": list(METHODS),
    "recipes": {
        "drift": {"prompts": "dsat", "chosen": "guided", "rejected": "logged", "start": "warmup"},
        "spin": {"prompts": "sat", "chosen": "logged", "rejected": "plain", "start": "base"},
    },
    "data": {
        "sources": {"wildchat": {"kind": "wildchat"}},
        "label_noise": 0.0,
        "labelers": {"rules": {"kind": "lexical"}},
        "labeler": "rules",
    },
    "sampling": {"temperature": 0.7, "top_p": 0.9, "max_tokens": 512, "context": 4096},
    "training": {"beta": 0.1, "learning_rate": 5e-7, "epochs": 1, "global_batch": 32, "max_length": 2048},
    "evaluation": evaluation(trusted=False),
}
CONFIG["evaluation"]["benchmarks"]["late"] = Benchmark(kind="prompts", path="late.jsonl", keep_out=False).model_dump(
    mode="json"
)


def say(random: np.random.Generator, words: int = 25) -> str:
    """Some words; now and then a hostile text among them."""
    lexicon = [
        "the",
        "model",
        "answered",
        "a",
        "question",
        "about",
        "code",
        "tables",
        "rivers",
        "and",
        "why",
        "they",
        "bend",
        "so",
        "slowly",
        "over",
        "time",
    ]
    spoken = " ".join(random.choice(lexicon, words))
    return f"{HOSTILE[random.integers(len(HOSTILE))]} {spoken}" if random.random() < 0.5 else spoken


def chat(*contents: str) -> list[dict]:
    return [{"role": ("user", "assistant")[at % 2], "content": content} for at, content in enumerate(contents)]


def write(rows: list[dict], schema, path: Path) -> None:
    tables.write_table(pl.DataFrame(rows, schema=schema.create_empty().schema), schema, path)


def build_data(root: Path, random: np.random.Generator) -> dict[str, list[dict]]:
    """The data of a run: 24 conversations of three exchanges, the pools and the ledger."""
    turns, labels, pools = [], [], {"dsat": [], "sat": [], "corrections": []}
    for number in range(24):
        conversation = f"wildchat:{number:03d}"
        said = [say(random) for _ in range(6)]
        for turn in range(3):
            feedback = said[2 * turn + 2] if turn < 2 else None
            turns.append(
                {"conversation_id": conversation, "turn": turn, "source": "wildchat", "language": "English", "flags": []}
                | {"user": said[2 * turn], "response": said[2 * turn + 1], "feedback": feedback}
            )
        row = {"conversation_id": conversation, "source": "wildchat", "split": "test" if number % 4 == 0 else "train"}
        row["flipped"] = False
        how = {"labeler": "rules", "evidence": ["rule:again"], "score": 0.9}
        shared = {"prompt_id": f"{conversation}/0", "turn": 0, "prompt": chat(said[0])}
        pools["dsat"].append(row | shared | how | {"rejected": said[1], "feedback": said[2]})
        pools["corrections"].append(row | shared | {"rejected": said[1], "feedback": said[2], "chosen": said[3] + " better"})
        later = {"prompt_id": f"{conversation}/1", "turn": 1, "prompt": chat(*said[:3])}
        pools["sat"].append(row | later | how | {"chosen": said[3], "feedback": said[4]})
        labels += [
            {"conversation_id": conversation, "turn": turn, "label": label} | how for turn, label in enumerate(("DSAT", "SAT"))
        ]
    write(turns, tables.Turns, root / "data/turns.parquet")
    write(labels, tables.Labels, root / "data/labels.parquet")
    figures = {"value": 0.91, "low": 0.79, "high": 0.98, "n": 175, "positives": 55, "given": 180}
    how_far = [
        {"labeler": "rules", "reference": "gold", "target": "DSAT", "metric": metric} | figures
        for metric in ("precision", "recall", "f1", "kappa")
    ]
    write(how_far, tables.Agreement, root / "data/agreement.parquet")
    held = {"pool": "dsat", "prompt_id": "c99/0", "benchmark": "arena", "task": "t7", "how": "ngram", "evidence": HOSTILE[0]}
    write([held], tables.Quarantine, root / "data/quarantine.parquet")
    late = [held | {"prompt_id": f"c9{n}/0", "benchmark": "late", "task": f"t{n % 2}"} for n in range(3)]
    write(late, tables.Contamination, root / "data/contamination/late.parquet")
    asked = [{"prompt_id": f"t{n}", "prompt": chat("Why?")} for n in range(5)]
    write(asked, tables.Tasks, root / "data/benchmarks/late.parquet")
    for name, schema in (("dsat", tables.Dsat), ("sat", tables.Sat), ("corrections", tables.Corrections)):
        write(pools[name], schema, root / f"data/{name}.parquet")
    tasks = [
        {"prompt_id": row["prompt_id"], "prompt": row["prompt"], "baseline": row["rejected"], "feedback": row["feedback"]}
        for row in pools["dsat"]
        if row["split"] == "test"
    ]
    write(tasks, tables.Tasks, root / "data/benchmarks/heldout.parquet")
    return pools | {"heldout": tasks}


def build_ledger(root: Path) -> None:
    source = LedgerBook("source wildchat", "turns", "records", 41210)
    source.drop("not English", 18350)
    source.drop("no user message", 0)
    source.drop("exact copy of another conversation", 2290)
    source.regroup("a conversation becomes its exchanges", "turns", 73555)
    source.drop("no reply in the log", 1210)
    source.drop("no feedback after the reply", 30040)
    source.drop("longer than max_chars", 2305)
    pool = LedgerBook("pool dsat", "pools", "replies", 40000)
    pool.drop("not labelled DSAT", 35200)
    pool.drop("too many of one conversation", 310)
    books = [source, pool]
    for method in METHODS:
        pairs = LedgerBook(f"qwen-0.5b {method} iteration 1", "pairs", "prompts", 4490)
        pairs.drop("cut by the token limit", 180)
        pairs.drop("empty reply", 0)
        pairs.drop("equal sides", 12)
        books.append(pairs)
    tables.write_table(pl.concat([book.table() for book in books]), tables.Ledger, root / "data/ledger.parquet")


def build_prompts(root: Path, pools: dict[str, list[dict]]) -> None:
    for pool, rows in pools.items():
        kept = [
            {"prompt_id": row["prompt_id"], "prompt": row["prompt"], "prompt_token_ids": [1, 2, 3], "turns_trimmed": 0}
            | {"split": row.get("split", "test"), "feedback": row["feedback"]}
            | {"chosen": row.get("chosen"), "rejected": row.get("rejected", row.get("baseline"))}
            for row in rows
        ]
        model = root / "qwen-0.5b"
        path = model / "eval/heldout/prompts.parquet" if pool == "heldout" else model / f"prompts/{pool}.parquet"
        write(kept, tables.Prompts, path)
        tables.write_table(
            LedgerBook(pool, "prompts", "prompts", 1).table(), tables.Ledger, path.with_suffix(".ledger.parquet")
        )
    build_requests(root / "qwen-0.5b/eval/heldout", pools["heldout"], "plain")


def build_requests(folder: Path, rows: list[dict], *kinds: str) -> None:
    made = [
        {"request_id": f"{row['prompt_id']}#{kind}-0", "prompt_id": row["prompt_id"], "kind": kind, "sample": 0}
        | {"messages": row["prompt"], "prompt_token_ids": [1], "seed": 1}
        for row in rows
        for kind in kinds
    ]
    write(made, tables.Requests, folder / "requests.parquet")


def build_completions(folder: Path, rows: list[dict], *kinds: str) -> None:
    """Replies of 100 tokens read and 7 written, in one shard."""
    made = [
        {"request_id": f"{row['prompt_id']}#{kind}-0", "text": "A", "finish_reason": "stop", "prompt_tokens": 100}
        | {"completion_tokens": 7, "policy_hash": "any"}
        for row in rows
        for kind in kinds
    ]
    write(made, tables.Completions, folder / "completions/0-of-1.parquet")


def build_round(folder: Path, rows: list[dict], method: str, iteration: int, random: np.random.Generator) -> None:
    """A trained policy: its requests, completions, pairs, margins, log, gates and manifest."""
    train = [row for row in rows if row["split"] == "train"]
    pairs, dropped, requests, completions = [], [], [], []
    for row in train:
        request = {"request_id": f"{row['prompt_id']}#plain-0", "prompt_id": row["prompt_id"]}
        requests.append(request | {"kind": "plain", "sample": 0, "messages": row["prompt"], "prompt_token_ids": [1], "seed": 1})
        reply = {"text": say(random), "finish_reason": "stop", "prompt_tokens": 120, "completion_tokens": 80}
        completions.append({"request_id": request["request_id"], "policy_hash": "parent"} | reply)
        if random.random() < 0.15:
            dropped.append({"prompt_id": row["prompt_id"], "reason": "cut by the token limit", "detail": None})
            continue
        sampled = {"text": reply["text"] + " sampled", "from": request["request_id"]}
        logged = {"text": row.get("rejected") or row["chosen"], "from": "logged"}
        chosen, rejected = (sampled, logged) if method == "drift" else (logged, sampled)
        if method == "warmup":
            chosen, rejected = {"text": row["chosen"], "from": "logged"}, {"text": row["rejected"], "from": "logged"}
        pairs.append(
            {"pair_id": row["prompt_id"], "prompt": row["prompt"], "prompt_token_ids": [1, 2, 3]}
            | {"chosen": chosen["text"], "rejected": rejected["text"], "chosen_from": chosen["from"]}
            | {"rejected_from": rejected["from"], "chosen_tokens": 40, "rejected_tokens": 50}
            | {"chosen_token_ids": [4] * 40, "rejected_token_ids": [5] * 50}
        )
    if method != "warmup":
        write(requests, tables.Requests, folder / "requests.parquet")
        for shard in range(2):
            write(completions[shard::2], tables.Completions, folder / f"completions/{shard}-of-2.parquet")
        ranks = [{"request_id": request["request_id"], "score": 7.0} for request in requests]
        write(ranks, tables.Ranks, folder / "rank/scores.parquet")
    write(pairs, tables.Pairs, folder / "pairs.parquet")
    write(dropped, tables.Dropped, folder / "dropped.parquet")
    margins = []
    for pair in pairs:
        s = float(random.normal(0.4 if method == "drift" else 1.2 * iteration, 0.4))
        margins.append(
            {"pair_id": pair["pair_id"], "reference_chosen_logp": -50.0, "reference_rejected_logp": -60.0}
            | {"start_chosen_logp": -50.0, "start_rejected_logp": -60.0, "s_before": 0.0, "sigma_minus_s_before": 0.5}
            | {"policy_chosen_logp": -50.0 + 5 * s, "policy_rejected_logp": -60.0 - 5 * s}
            | {"s": s, "sigma_minus_s": float(1 / (1 + np.exp(s)))}
        )
    write(margins, tables.Margins, folder / "margins.parquet")
    gradients = [{"pair_id": pairs[0]["pair_id"], "moment": "before", "d_norm": 4.0, "gradient_norm": 0.2}]
    write(gradients, tables.Gradients, folder / "gradients.parquet")
    reference = [{"pair_id": pair["pair_id"], "chosen_logp": -50.0, "rejected_logp": -60.0} for pair in pairs]
    write(reference, tables.Logps, folder / "reference.parquet")
    diagnostics = [{"metric": "mean_gradient_norm", "moment": "before", "value": 0.2, "n": 1}]
    write(diagnostics, tables.Diagnostics, folder / "diagnostics.parquet")
    write([{"step": 1, "metric": "loss", "value": 0.69}], tables.TrainLog, folder / "train.parquet")
    gates = [
        {"gate": name, "passed": True, "detail": f"{len(pairs)} pairs <checked>"}
        for name in ("one_bos", "prompt_ids_equal", "weights_changed", "all_steps_ran")
    ]
    (folder / "gates.json").write_text(json.dumps({"gates": gates}))
    build_manifest(folder, f"{method}-{iteration}", 0.93, 4)


def build_manifest(folder: Path, name: str, changed: float | None, steps: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"name": name, "weights_sha256": f"sha-{name}", "parent_sha256": None, "settings": {"beta": 0.1}}
    manifest |= {"pairs_sha256": None, "seed": 42, "versions": {"trl": "0.24.0", "torch": "2.8.0"}, "steps_done": steps}
    manifest |= {"steps_planned": steps, "changed_share": changed, "seconds": 75.0 * steps, "tokens": 5000}
    (folder / "policy.json").write_text(json.dumps(manifest, indent=2))


def build_evaluation(folder: Path, pools: dict[str, list[dict]], gain: float, random: np.random.Generator) -> None:
    tasks, place = pools["heldout"], folder / "eval/heldout"
    responses = [
        {"prompt_id": task["prompt_id"], "sample": 0, "response": say(random), "finish_reason": "length" if at == 0 else "stop"}
        | {"completion_tokens": int(random.integers(50, 200))}
        for at, task in enumerate(tasks)
    ]
    write(responses, tables.Responses, place / "responses.parquet")
    judgments = [
        {"request_id": f"{task['prompt_id']}#pairwise-{order}-0", "prompt_id": task["prompt_id"], "order": order}
        | {"preference": float(np.clip(0.5 + gain + random.normal(0, 0.2), 0, 1)), "mass": 0.9}
        | {"sample": 0, "kind": "pairwise", "opponent": "baseline", "vote": 0, "policy_chars": 90, "opponent_chars": 80}
        for task in tasks
        for order in ("AB", "BA")
    ]
    write(judgments, tables.Judgments, place / "judge/tiny/judgments.parquet")
    build_completions(place, tasks, "plain")
    build_requests(place / "judge/tiny", tasks, "pairwise-AB", "pairwise-BA")
    build_completions(place / "judge/tiny", tasks, "pairwise-AB", "pairwise-BA")
    logps = [
        {"pair_id": row["prompt_id"], "chosen_logp": -50 + 20 * gain + float(random.normal()), "rejected_logp": -50 - 9 * gain}
        for row in pools["corrections"]
        if row["split"] == "test"
    ]
    write(logps, tables.Logps, folder / "eval/heldout-pairs/logps.parquet")


def python(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a stage as the pipeline does."""
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def policies(root: Path) -> list[tuple[str, int, Path]]:
    """Method, iteration and folder of every policy of the built results."""
    model = root / "qwen-0.5b"
    iterations = [(method, k, model / method / f"iter{k}") for method in METHODS for k in (1, 2)]
    return [("base", -1, model / "base"), ("warmup", 0, model / "warmup"), *iterations]


def build_results(home: Path) -> Path:
    """A small run with two methods of two iterations at home/results/demo, scored and catalogued by the real stages."""
    root, random = home / "results/demo", np.random.default_rng(7)
    pools = build_data(root, random)
    build_ledger(root)
    build_prompts(root, pools)
    for method, iteration, folder in policies(root):
        if method == "base":
            build_manifest(folder, "base", None, 0)
        else:
            build_round(folder, pools["corrections" if method == "warmup" else SIDES[method][0]], method, iteration, random)
        gain = {"base": 0.0, "warmup": 0.02, "drift": 0.05 + 0.06 * iteration, "spin": 0.05 - 0.07 * iteration}[method]
        build_evaluation(folder, pools, gain, random)
    published = [{"prompt_id": str(number), "score": 5.0} for number in range(30)]
    write(published, tables.Published, root / "eval/validation/score/published.parquet")
    trial = {"judge": "tiny", "benchmark": "heldout", "metric": "spearman", "value": 0.125, "low": 0.0, "high": 0.25, "n": 30}
    write([trial], tables.Validation, root / "eval/validation.parquet")
    (root / "config.resolved.yaml").write_text(yaml.safe_dump(CONFIG))
    records = [{"s": 12.5, "max_rss": 2048.0, "cpu_time": 30.0}, {"s": 3700.0, "max_rss": "NA", "cpu_time": "NA"}]
    for rule, record in zip(("train", "generate"), records, strict=True):
        file = root / "benchmarks" / rule / "drift-1.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(record | {"rule_name": [rule], "wildcards": {}}) + "\n{broken")
    named = [(str(folder.relative_to(root)), method, iteration) for method, iteration, folder in policies(root)]
    arguments = score_arguments(root, HELDOUT, root / "eval", named)
    scored = python("scores.py", *arguments, cwd=home)
    assert scored.returncode == 0, scored.stderr
    made = python("catalog.py", "--results", "results/demo", "--catalog", "results/demo/catalog.duckdb", cwd=home)
    assert made.returncode == 0, made.stderr
    return root


def render_page(home: Path) -> str:
    where = "results/demo"
    inputs = ("--config", f"{where}/config.resolved.yaml", "--catalog", f"{where}/catalog.duckdb")
    outputs = ("--benchmarks", f"{where}/benchmarks", "--report", f"{where}/report.html")
    made = python("report.py", "--results", where, *inputs, *outputs, cwd=home)
    assert made.returncode == 0, made.stderr
    return (home / where / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """The elements and attributes of a page as a browser would build them, and the text in and between them."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.words, self.values = set(), set(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "data":
            self.values.append(float(dict(attrs)["value"]))

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    build_results(folder)
    return folder


@pytest.fixture(scope="module")
def page(home):
    return render_page(home)


@pytest.fixture
def results(home, monkeypatch):
    monkeypatch.chdir(home)
    return report.Catalog("results/demo/catalog.duckdb")


def test_texts_of_conversations_cannot_act(page):
    parsed = Page(page)
    assert not parsed.tags & {"script", "img", "b onclick", "iframe", "object", "link"}
    assert not [name for name in parsed.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in "".join(parsed.words), "the text itself must be there to read"
    assert "{{7*7}} {% for x in y %} ${6*6}" in "".join(parsed.words), "a text is no template"
    assert "\x00" not in page
    assert "\u202e" not in page


def test_page_needs_no_network(page):
    outside = set(re.findall(r"""(?:href|src|url)\s*[=(]\s*["']?(?!#)[^"'\s>]+""", re.sub(r"&[#\w]+;.*", "", page)))
    assert outside == {'href="http://www.w3.org/1999/xlink'} or not outside
    assert "default-src 'none'" in page
    assert not re.search(r'\sid="(?!scores|comparisons|judges|curves|ledger|labels|gates|pairs|dropped|cost|settings)', page), (
        "ids of charts would collide"
    )


def test_table_shows_the_scores(page, home):
    scores = tables.read_table(tables.Scores, home / "results/demo/eval/scores.parquet")
    assert sorted(Page(page).values) == pytest.approx(sorted(scores["value"].drop_nulls().to_list()))
    win = scores.row(
        by_predicate=(pl.col("metric") == "win_rate") & (pl.col("method") == "drift") & (pl.col("iteration") == 2), named=True
    )
    assert f">{100 * win['value']:.1f}%</data>" in page
    assert f"{100 * win['low']:.1f} to {100 * win['high']:.1f}" in page


def test_untrusted_judge_and_heuristic_labels_are_named(page):
    assert "verdicts of this judge mean nothing by themselves" in page
    assert "lexical heuristic" in page


def test_a_judges_trial_is_shown_beside_the_scores(page):
    assert re.search(r'title="30 items">0\.12</span><span class="interval">0\.00 to 0\.25</span>', page)
    assert page.index('id="scores"') < page.index('id="judges"') < page.index('id="curves"')


def test_agreement_and_quarantined_prompts_are_shown(page):
    assert "0.91" in page
    assert "0.79 to 0.98" in page
    assert "1 of dsat (arena, ngram)" in page
    text = " ".join(page.split())
    assert "late was not kept out (keep_out: false): 2 of its 5 tasks are held by 3 training rows" in text


def test_what_lexical_labels_are_worth_stands_beside_them_whoever_made_the_pairs(page):
    section = page[page.index('id="labels"') : page.index('id="gates"')]
    assert "precision 0.91" in section
    assert "labels made by people" in section.lower()
    assert "8 of 15" in section


def test_label_noise_is_named():
    config = CONFIG | {"data": CONFIG["data"] | {"label_noise": 0.25}}
    (notice,) = (one for one in report.notices(config, {"failed": [], "total": 3}) if one["title"] == "Label noise")
    assert "25" in notice["text"]


def test_trusted_judge_is_not_warned_about():
    config = CONFIG | {"evaluation": evaluation(trusted=True)}
    assert [notice["title"] for notice in report.notices(config, {"failed": [], "total": 3})] == ["Labels"]


def test_judge_that_was_several_models_is_refused_with_cause_and_cure(home, tmp_path):
    """The verdicts on one policy come from another model under the same name: none of that judge's scores are shown."""
    shutil.copytree(home / "results", tmp_path / "results")
    file = tmp_path / "results/demo/qwen-0.5b/spin/iter2/eval/heldout/judge/tiny/completions/0-of-1.parquet"
    tables.write_table(pl.read_parquet(file).with_columns(policy_hash=pl.lit("other")), tables.Completions, file)
    page = render_page(tmp_path)
    assert "tiny was 2 models when it judged heldout: any for base, drift 1, drift 2, spin 1, warmup; other for spin 2" in page
    assert "Delete the judge" in page
    scores = tables.read_table(tables.Scores, home / "results/demo/eval/scores.parquet")
    shown = scores.filter(judge="")["value"].drop_nulls().to_list()
    assert sorted(Page(page).values) == pytest.approx(sorted(shown)), "what nobody judged stays"
    assert "judged by tiny" not in page


def row_of(judge: str, metric: str = "win_rate", **columns) -> dict:
    shared = {"model": "qwen-0.5b", "method": "base", "iteration": -1, "benchmark": "heldout", "judge": judge, "metric": metric}
    return shared | {"value": 0.5, "low": 0.4, "high": 0.6, "n": 5, "total": 6, "samples": 1, "spread": None} | columns


def test_every_judge_has_columns_of_its_own():
    both = evaluation()
    both["judges"]["huge"] = both["judges"]["tiny"]
    both["benchmarks"]["heldout"]["judge"] = ["tiny", "huge"]
    rows = [row_of("huge", value=0.7), row_of("tiny"), row_of("", "response_tokens", value=100)]
    (table,) = score_tables.score_tables(rows, CONFIG | {"evaluation": both})
    assert [group["title"] for group in table["groups"]] == ["judged by tiny", "judged by huge", "answers"]
    assert [cell["text"] for cell in table["rows"][0]["cells"]] == ["50.0%", "5 of 6", "70.0%", "5 of 6", "100"]
    assert [notice["title"] for notice in score_tables.judge_notices(rows, {})] == ["Several judges"]


def test_a_judge_without_probabilities_is_named():
    (notice,) = score_tables.judge_notices([row_of("tiny", "written_win_rate")], {})
    assert notice["title"] == "Letters without probabilities"
    assert notice["text"].startswith("tiny gives no probabilities for heldout")


def test_spread_of_several_samples_is_shown():
    (table,) = score_tables.score_tables([row_of("tiny", samples=3, spread=0.02)], CONFIG)
    assert table["rows"][0]["cells"][0]["spread"] == "± 2.0% in 3 samples"


def test_groups_and_references_are_details():
    rows = [row_of("tiny", "wb_score_task_macro", value=-3.14), row_of("tiny", "wb_score:Math & Data Analysis", value=20)]
    (table,) = score_tables.score_tables(rows, CONFIG)
    assert [metric.label for metric in table["groups"][0]["metrics"]] == ["WB-Score, task-weighted"]
    assert table["rows"][0]["cells"][0]["text"] == metric_labels.minus("-3.1")
    assert [metric.label for metric in table["more"]["groups"][0]["metrics"]] == ["WB-Score: Math & Data Analysis"]


def test_comparison_is_coloured_only_where_it_stands_after_the_correction():
    row = {"model": "qwen-0.5b", "method": "drift", "iteration": 1, "other_method": "base", "other_iteration": -1}
    row |= {"against": "base", "benchmark": "heldout", "judge": "tiny", "metric": "win_rate", "n": 6}
    stands, falls = {"p": 0.0004, "p_holm": 0.004}, {"p": 0.02, "p_holm": 0.2}
    rows = [row | {"difference": -0.031, "low": -0.05, "high": -0.01} | p for p in (stands, falls)]
    (table,) = score_tables.comparison_tables(rows, CONFIG)
    assert [(shown["difference"], shown["sign"], shown["p"]) for shown in table["rows"]] == [
        (metric_labels.minus("-3.1"), "down", "< 0.001"),
        (metric_labels.minus("-3.1"), "", "0.020"),
    ]
    assert (table["found"], table["rows"][0]["interval"]) == (1, metric_labels.minus("-5.0 to -1.0"))


def test_every_metric_of_the_scores_has_a_name_in_the_report(home):
    scores = tables.read_table(tables.Scores, home / "results/demo/eval/scores.parquet")
    assert {metric.name for metric in metric_labels.in_order(set(scores["metric"]))} == set(scores["metric"])


def test_failed_gates_come_first():
    rows = [
        {"model": "m", "method": "drift", "iteration": 1, "gate": "one_bos", "passed": False, "detail": "3 prompts"},
        {"model": "m", "method": "drift", "iteration": 1, "gate": "finite", "passed": True, "detail": ""},
    ]
    gates = report.gate_summary(rows)
    assert [gate["gate"] for gate in gates["failed"]] == ["one_bos"]
    assert "failure" in [notice["kind"] for notice in report.notices(CONFIG, gates)]


def test_same_run_gives_the_same_page(page, home):
    assert render_page(home) == page


def test_sampled_pairs_are_of_the_last_rounds(results):
    pairs = report.sampled_pairs(results, CONFIG)
    assert len(pairs) == 12
    assert {(pair["method"], pair["iteration"]) for pair in pairs} == {("drift", 2), ("spin", 2)}
    assert len({(pair["method"], pair["pair_id"]) for pair in pairs}) == 12
    spin = next(pair for pair in pairs if pair["method"] == "spin")
    assert (spin["earlier"], spin["chosen_from"]) == (2, "logged reply")
    said = results.query(f"SELECT feedback FROM sat WHERE prompt_id = '{spin['pair_id']}'")[0]["feedback"]
    assert spin["feedback"]["head"] == report.excerpt(said)["head"], "the feedback is of the method's own pool"


def test_long_text_is_folded_then_cut():
    shown = report.excerpt("a" * 6000)
    assert (len(shown["head"]), len(shown["rest"]), shown["left_out"]) == (
        report.EXCERPT,
        report.LONGEST - report.EXCERPT,
        1000,
    )
    assert report.excerpt("short") == {"head": "short", "rest": "", "left_out": 0}
    moves = "".join(f"{n}.e4 e5\n" for n in range(30))
    shown = report.excerpt(moves)
    assert shown["head"].count("\n") == report.EXCERPT_LINES
    assert shown["head"] + shown["rest"] == moves


def test_flow_bars_are_shares_of_their_stretch():
    book = LedgerBook("source", "turns", "records", 200)
    book.drop("empty", 50)
    book.drop("odd", 0)
    book.regroup("split", "turns", 400)
    book.drop("late", 100)
    lineage = cost_tables.ledger_lineages(book.table().to_dicts())[0]
    records, turns = lineage["stretches"]
    assert [(step["kept"], step["lost"]) for step in records["steps"]] == [(75.0, 25.0)]
    assert (records["clean"], records["regrouped"], turns["rows"]) == (["odd"], "split", 400)
    assert [(step["kept"], step["lost"]) for step in turns["steps"]] == [(75.0, 25.0)]
    assert (lineage["rows_in"], lineage["rows_out"]) == (200, 300)


def test_cost_bears_what_snakemake_could_not_measure(home):
    cost = cost_tables.cost_table(cost_tables.timing_rows(home / "results/demo/benchmarks"))
    assert [(row["rule"], row["jobs"], row["memory"]) for row in cost["rules"]] == [("generate", 1, None), ("train", 1, 2048.0)]
    assert (cost["total"]["seconds"], cost["total"]["cpu"]) == (3712.5, 30.0)
    assert cost_tables.cost_table([]) == {"rules": [], "total": None}


def test_dropped_prompts_and_pairs_add_up(results):
    dropped = report.dropped_table(results, CONFIG)
    totals = [kept + sum(row["counts"][at] for row in dropped["rows"]) for at, kept in enumerate(dropped["kept"])]
    assert totals == [18] * 5


def test_token_sums(results):
    row = next(row for row in report.training_table(results, CONFIG) if (row["method"], row["iteration"]) == ("drift", 1))
    assert (row["read"], row["written"]) == (18 * 120, 18 * 80)
    assert row["evaluated"] == 6 * 3 * 107, "an answer and two verdicts for each of six tasks"
    assert row["trained"] == row["pairs"] * (2 * 3 + 40 + 50)


def test_line_begins_at_the_policy_that_a_method_started_from():
    row = {"low": None, "high": None}
    points = pl.DataFrame(
        [
            {"method": "base", "iteration": -1, "value": 0.1} | row,
            {"method": "warmup", "iteration": 0, "value": 0.2} | row,
            {"method": "drift", "iteration": 1, "value": 0.3} | row,
            {"method": "spin", "iteration": 1, "value": 0.4} | row,
        ],
        schema=charts.POINTS,
    )
    joined = charts.joined_to_start(points, {"drift": 0, "spin": -1}).sort("method", "iteration")
    lines = {method: joined.filter(pl.col("method") == method)["value"].to_list() for method in METHODS}
    assert lines == {"drift": [0.2, 0.3], "spin": [0.1, 0.4]}


def test_chart_is_drawn_in_the_page_s_colours():
    points = pl.DataFrame(
        [{"method": "drift", "iteration": k, "value": k / 10, "low": 0.0, "high": 0.5} for k in (1, 2)], schema=charts.POINTS
    )
    drawn = charts.curve(points, ["drift"], "%", rule=0.5)
    assert drawn.startswith("<svg")
    assert "var(--series-1)" in drawn
    assert 'fill="white"' not in drawn, "a background would blind a dark page"


def test_missing_table_is_named_with_its_cure(home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cli.StageError, match="Run from the folder where the catalog was made"):
        report.Catalog(str(home / "results/demo/catalog.duckdb")).query("SELECT * FROM scores")


def test_report_of_a_run_without_results(tmp_path):
    (tmp_path / "results/demo").mkdir(parents=True)
    (tmp_path / "results/demo/config.resolved.yaml").write_text(yaml.safe_dump(CONFIG))
    python("catalog.py", "--results", "results/demo", "--catalog", "results/demo/catalog.duckdb", cwd=tmp_path)
    page = render_page(tmp_path)
    assert "No policy was scored." in page
    assert "No benchmark files." in page


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.24, "4.2 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min"), (90061, "25 h 01 min")]
)
def test_durations(seconds, text):
    assert metric_labels.duration(seconds) == text


def test_flows_are_listed_in_the_order_of_a_rows_way():
    books = [
        LedgerBook("m/drift/iter1", "pairs", "prompts", 3),
        LedgerBook("m/warmup", "pairs", "prompts", 3),
        LedgerBook("m/prompts/dsat", "prompts", "prompts", 3),
        LedgerBook("corrections", "pools", "replies", 3),
        LedgerBook("source:chats", "turns", "lines", 3),
    ]
    for book in books:
        book.drop("a check", 1)
    rows = pl.concat([book.table() for book in books]).to_dicts()
    names = [lineage["name"] for lineage in cost_tables.ledger_lineages(rows)]
    assert names == ["source:chats", "corrections", "m/prompts/dsat", "m/warmup", "m/drift/iter1"]
