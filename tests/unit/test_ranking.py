"""Candidates find their scores again, whoever gave them."""

import json
import shutil
import sys
from types import ModuleType

import polars as pl
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaForSequenceClassification

import candidates
import ranks
import rewards
from drift import plugins, tables
from drift.cli import StageError
from drift.engines import classifiers
from drift.judging.candidates import numbered
from drift.rankers import checks, classifier
from drift.settings.sampling import RewardSettings
from tests.builders.pairs import answered, fitted_prompts, requests


@pytest.fixture
def asked(tokenizer):
    """Two prompts, each sampled twice plainly and once guided."""
    fitted = fitted_prompts(tokenizer, 2)
    return fitted, pl.concat([requests(fitted, "plain", samples=2), requests(fitted, "guided")])


def judged(responses: pl.DataFrame, score) -> pl.DataFrame:
    """Judgments: one vote on each response, `score(response)`; None: no verdict."""
    rows = [
        {
            "request_id": f"{row['prompt_id']}#score-{row['sample']}.0",
            "prompt_id": row["prompt_id"],
            "sample": row["sample"],
            "kind": "score",
            "vote": 0,
            "policy_chars": len(row["response"]),
            "score": score(row["response"]),
            "error": None if score(row["response"]) else "not JSON",
        }
        for row in responses.iter_rows(named=True)
    ]
    return tables.Judgments.validate(pl.DataFrame(rows, schema=tables.Judgments.create_empty().schema))


def test_a_judges_score_comes_back_to_the_reply_that_it_was_given(asked):
    fitted, sampled = asked
    texts = [f"Reply to {name}." for name in sampled["request_id"]]
    completions = answered(sampled, ["x", "x"]).with_columns(
        text=pl.col("request_id").replace_strict(sampled["request_id"].to_list(), texts)
    )
    responses = candidates.responses(sampled, completions.sample(fraction=1.0, shuffle=True, seed=1), "drop")
    tasks = candidates.tasks(fitted, responses)
    tables.Responses.validate(responses)
    assert tables.Tasks.validate(tasks)["prompt"].to_list() == fitted["prompt"].to_list()
    scores = {text: 1.0 + number for number, text in enumerate(texts)}
    found = dict(ranks.ranks(sampled.reverse(), judged(responses, scores.get)).iter_rows())
    assert found == {name: 1.0 + number for number, name in enumerate(sampled["request_id"])}


def test_a_reply_that_can_make_no_pair_is_not_judged_and_one_without_a_verdict_has_no_rank(asked):
    _, sampled = asked
    responses = candidates.responses(sampled, answered(sampled, ["", "Yes."]), "drop")
    assert set(responses["response"]) == {"Yes."}
    assert responses.height == 2, "each prompt's second plain sample"
    assert ranks.ranks(sampled, judged(responses, lambda _: None)).is_empty()


def test_a_candidate_that_was_cut_is_ranked_where_it_makes_a_pair_as_a_prefix(asked):
    fitted, sampled = asked
    completions = answered(sampled, ["", "Yes."]).with_columns(
        text=pl.when(pl.col("text") == "").then(pl.lit("It is")).otherwise("text")
    )
    counts = {}
    for cut in ("drop", "prefix"):
        rows = rewards.candidates(fitted, sampled, completions, cut)
        counts[cut] = candidates.responses(sampled, completions, cut).height, len(rows)
    assert counts == {"drop": (2, 2), "prefix": (6, 6)}


def test_votes_are_averaged():
    sampled = pl.DataFrame({"request_id": ["p#plain-0"], "prompt_id": ["p"], "kind": ["plain"], "sample": [0]})
    votes = pl.DataFrame(
        {"prompt_id": ["p"] * 3, "sample": [0] * 3, "score": [4.0, 8.0, None]}, schema_overrides={"sample": pl.Int32}
    )
    assert ranks.ranks(sampled, votes)["score"].to_list() == [6.0]


def test_a_judge_without_any_verdict_is_not_said_to_score_all_alike(asked, tmp_path, monkeypatch):
    _, sampled = asked
    responses = candidates.responses(sampled, answered(sampled, ["Yes.", "No."]), "drop")
    for name, schema, rows in (
        ("requests", tables.Requests, sampled),
        ("judgments", tables.Judgments, judged(responses, {}.get)),
    ):
        tables.write_table(rows, schema, tmp_path / f"{name}.parquet")
    words = [word for name in ("requests", "judgments", "ranks") for word in (f"--{name}", str(tmp_path / f"{name}.parquet"))]
    monkeypatch.setattr(sys, "argv", ["ranks.py", *words])
    with pytest.raises(StageError, match="none of the 6 verdicts has a score; most often: not JSON"):
        ranks.main()


def test_the_numbers_of_candidates_do_not_depend_on_the_order_of_rows(asked):
    _, sampled = asked
    ours = numbered(sampled).select("request_id", "candidate").sort("request_id")
    assert ours.equals(numbered(sampled.reverse()).select("request_id", "candidate").sort("request_id"))
    assert ours["candidate"].to_list() == [0, 1, 2] * 2


def candidate(number: int, question: str, text: str) -> dict:
    """What a ranker scores."""
    return {"request_id": str(number), "prompt": [{"role": "user", "content": question}], "text": text}


def test_a_reward_model_scores_the_reply_in_its_conversation(tokenizer, reward_model):
    rows = [
        candidate(number, question, text)
        for number, (question, text) in enumerate(
            [("What?", "This."), ("What?", "That."), ("Who?", "This."), ("What?", "river " * 99)]
        )
    ]
    settings = RewardSettings(cut="drop", kind="classifier", path=str(reward_model), max_length=60, wrong=0.0, seed=42)
    scores = classifier.scores(rows, settings, reward_model)
    assert scores.keys() == {"0", "1", "2"}, "what is too long has no score"
    assert len(set(scores.values())) == 3, "prompt and reply both count"
    model, _ = classifiers.load(reward_model, "path")
    chat = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "This."}]
    ids = torch.tensor([tokenizer.apply_chat_template(chat, return_dict=False)])
    with torch.no_grad():
        assert scores["0"] == pytest.approx(model(input_ids=ids).logits.item())


def test_a_reply_longer_than_a_reward_model_has_positions_for_has_no_score(tmp_path, tokenizer):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=40, num_labels=1, **sizes)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    settings = RewardSettings(cut="drop", kind="classifier", path=str(tmp_path), max_length=2048, wrong=0.0, seed=42)
    rows = [candidate(0, "What?", "This."), candidate(1, "What?", "river " * 60)]
    assert classifier.scores(rows, settings, tmp_path).keys() == {"0"}


def test_the_day_of_the_run_is_no_part_of_what_a_reward_model_reads(tmp_path, tokenizer, reward_model):
    folder = shutil.copytree(reward_model, tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{{ strftime_now('%d %b %Y') }}{{ messages[0]['content'] }}")
    _, own = classifiers.load(folder, "path")
    read = own.decode(classifiers.encode(own, [{"role": "user", "content": "What?"}])["input_ids"])
    assert read == "01 Jan 2025What?"


def test_without_a_chat_template_conversation_and_reply_are_a_pair_of_texts(reward_model):
    _, own = classifiers.load(reward_model, "path")
    own.chat_template = None
    chat = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "This."}]
    assert classifiers.encode(own, chat)["input_ids"] == own("What?", "This.")["input_ids"]
    assert classifiers.encode(own, chat[:1])["input_ids"] == own("What?")["input_ids"], "a lone message is no pair"


def test_a_model_that_is_no_classifier_is_refused_and_gets_no_random_outputs(tiny_model):
    with pytest.raises(StageError, match=r"no classifier can be loaded \(it has no weights score.weight\); fix the key"):
        classifiers.load(tiny_model, "the key")


def test_a_classifier_with_several_outputs_is_refused(tmp_path, tokenizer, reward_model):
    model = LlamaForSequenceClassification.from_pretrained(reward_model, num_labels=2, ignore_mismatched_sizes=True)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(StageError, match="one output, this classifier has 2; fix rankers"):
        classifier.check_labels(tmp_path, None)


def test_a_classifier_with_labels_scores_by_what_they_are_worth(tmp_path, tokenizer, reward_model):
    names = {0: "rejection", 1: "neutral", 2: "satisfaction"}
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    torch.manual_seed(0)
    model = LlamaForSequenceClassification.from_pretrained(reward_model, **labels, ignore_mismatched_sizes=True)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(StageError, match=r"has 3; .*rankers\.NAME\.weights: \{neutral: \.\.\., rejection: \.\.\., satisf"):
        classifier.check_labels(tmp_path, None)
    settings = {"cut": "drop", "kind": "classifier", "path": str(tmp_path), "max_length": 60, "wrong": 0.0, "seed": 42}
    some = RewardSettings(**settings, weights={"rejection": 1.0, "satisfaction": 5.0})
    with pytest.raises(StageError, match=r"labels of this classifier are neutral, rejection, satisfaction, and .* give each"):
        classifier.scores([candidate(0, "What?", "This.")], some, tmp_path)
    weights = {"satisfaction": 5.0, "rejection": 1.0, "neutral": 3.0}
    scores = classifier.scores([candidate(0, "What?", "This.")], RewardSettings(**settings, weights=weights), tmp_path)
    chat = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "This."}]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokenizer.apply_chat_template(chat, return_dict=False)])).logits[0]
    expected = sum(share * weights[names[number]] for number, share in enumerate(logits.double().softmax(0).tolist()))
    assert scores == {"0": pytest.approx(expected, abs=1e-5)}
    assert 1 < expected < 5


def test_a_folder_without_a_classifier_is_refused_with_the_key_to_fix(tmp_path):
    with pytest.raises(StageError, match=r"no classifier can be loaded .*fix rankers\.NAME\.path"):
        classifier.check_labels(tmp_path, None)


@pytest.fixture
def wishes(tmp_path):
    """A file of prompts with checks."""
    path = tmp_path / "wishes.jsonl"
    short, because = {"name": "words", "arguments": {"at_most": 2}}, {"name": "includes", "arguments": {"phrase": "because"}}
    records = [{"id": "1", "prompt": "Why?", "checks": [short, because]}, {"id": "2", "prompt": "Who?", "checks": [short]}]
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def checking(path, wrong: float = 0.0) -> RewardSettings:
    return RewardSettings(cut="drop", kind="checks", path=str(path), max_length=64, wrong=wrong, seed=42)


def test_checks_score_a_reply_by_those_of_the_prompt_that_its_conversation_begins_with(wishes):
    rows = [
        candidate(0, "Why?", "just because"),
        candidate(1, "Why?", "because they are old"),
        candidate(2, " Who? ", "No idea at all."),
        candidate(3, "Where?", "There."),
    ]
    rows[2]["prompt"] += [{"role": "assistant", "content": "They."}, {"role": "user", "content": "Again, please."}]
    assert checks.scores(rows, checking(wishes), wishes) == {"0": 1.0, "1": 0.5, "2": 0.0}, "an unknown prompt has no score"
    with pytest.raises(StageError, match="none of the 1 prompts to score is in this file"):
        checks.scores(rows[3:], checking(wishes), wishes)


def test_a_reply_that_names_no_topic_of_its_prompt_has_the_least_score_where_that_is_asked_for(tmp_path):
    short = {"name": "words", "arguments": {"at_most": 5}}
    asked = {"id": "1", "prompt": "Why cliffs?", "checks": [short], "topics": ["cliff"]}
    path = tmp_path / "wishes.jsonl"
    path.write_text(json.dumps(asked))
    rows = [candidate(0, "Why cliffs?", "Cliffs are high."), candidate(1, "Why cliffs?", "Use at most five words.")]
    assert checks.scores(rows, checking(path), path) == {"0": 1.0, "1": 1.0}
    settings = checking(path).model_copy(update={"on_topic": True})
    assert checks.scores(rows, settings, path) == {"0": 1.0, "1": 0.0}
    path.write_text(json.dumps(asked | {"topics": None}))
    with pytest.raises(StageError, match=r"no topics of 'Why cliffs\?'; rankers.NAME.on_topic needs"):
        checks.scores(rows, settings, path)


def test_a_reply_that_is_turned_around_ties_with_one_that_keeps_as_much(tmp_path):
    path = tmp_path / "wishes.jsonl"
    kept = [{"name": "words", "arguments": {"at_most": most}} for most in (1, 2, 3)]
    path.write_text(json.dumps({"id": "1", "prompt": "Why?", "checks": kept}))
    by_share = {}
    for wrong in (0.0, 1.0):
        for words in range(1, 5):
            (score,) = checks.scores([candidate(0, "Why?", "so " * words)], checking(path, wrong), path).values()
            by_share.setdefault(round(score, 6), set()).add(score)
    assert sorted(by_share) == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-5)
    assert all(len(scores) == 1 for scores in by_share.values()), "none is above another by rounding"


def replies(words: str) -> list[dict]:
    return [
        candidate(number, "Who?", f"They {words * number}." if number % 2 else f"No {words * number}") for number in range(400)
    ]


def test_one_prompt_with_two_sets_of_checks_scores_nobody(tmp_path):
    """A conversation does not say which of the two its user wanted."""
    path, rows = tmp_path / "wishes.jsonl", [candidate(0, "Why?", "So.")]
    record = {"id": "a", "prompt": "Why?", "checks": [{"name": "no_digits"}], "topics": ["owl"]}
    fault = r"wishes\.jsonl: a and b have one prompt, 'Why\?', and other checks or topics"

    def write(**other):
        path.write_text("\n".join(map(json.dumps, (record, record | {"id": "b", "prompt": " Why?"} | other))))

    write()
    assert checks.scores(rows, checking(path), path) == {"0": 1.0}
    write(checks=[{"name": "no_list"}])
    with pytest.raises(StageError, match=fault):
        checks.scores(rows, checking(path), path)
    write(topics=["cliff"])
    assert checks.scores(rows, checking(path), path) == {"0": 1.0}, "topics make no difference here"
    with pytest.raises(StageError, match=fault):
        checks.scores(rows, checking(path).model_copy(update={"on_topic": True}), path)


def test_a_checking_ranker_errs_at_the_rate_that_is_asked_for_and_always_on_the_same_replies(wishes):
    rows = replies("did ")
    right = checks.scores(rows, checking(wishes), wishes)
    noisy = checks.scores(rows[::-1], checking(wishes, wrong=0.25), wishes)
    turned = [name for name in right if noisy[name] != right[name]]
    assert len(turned) == pytest.approx(100, abs=30)
    assert all(noisy[name] == 1 - right[name] for name in turned)
    assert checks.scores(rows, checking(wishes, wrong=0.25), wishes) == noisy


def test_a_checking_ranker_errs_otherwise_where_other_replies_were_sampled(wishes):
    """A coin that followed from the prompt and the sample's number alone would be the same in every
    iteration and seed: a gate that some prompts never pass."""
    errors = []
    for words in ("did ", "do "):
        right, noisy = (checks.scores(replies(words), checking(wishes, wrong=wrong), wishes) for wrong in (0.0, 0.5))
        errors.append([noisy[name] != right[name] for name in right])
    assert sum(one == other for one, other in zip(*errors, strict=True)) == pytest.approx(200, abs=40)


@pytest.fixture
def shortest(monkeypatch):
    """A ranker that needs no model, plugged in: the shorter a reply, the better."""
    ranker = ModuleType("shortest")
    ranker.NEEDS_PATH, ranker.READS = "", ()
    ranker.scores = lambda rows, settings, model: {row["request_id"]: -len(row["text"]) for row in rows if model is None}
    monkeypatch.setitem(sys.modules, "shortest", ranker)
    monkeypatch.setitem(plugins.RANKERS, "shortest", "shortest")


def test_a_ranker_is_a_module_and_a_line_without_a_model(shortest, asked, tmp_path, monkeypatch):
    fitted, sampled = asked
    completions = answered(sampled, ["", "A long reply.", "Short."])
    for name, schema, rows in (
        ("prompts", tables.Prompts, fitted),
        ("requests", tables.Requests, sampled),
        ("completions", tables.Completions, completions),
    ):
        tables.write_table(rows, schema, tmp_path / f"{name}.parquet")
    options = {name: tmp_path / f"{name}.parquet" for name in ("prompts", "requests", "completions", "ranks")}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    settings = RewardSettings(cut="drop", kind="shortest", path=None, max_length=64, wrong=0.0, seed=42).canonical()
    monkeypatch.setattr(sys, "argv", ["rewards.py", *words, "--path", "--settings", settings])
    rewards.main()
    scores = dict(tables.read_table(tables.Ranks, tmp_path / "ranks.parquet").iter_rows())
    sound = completions.filter(pl.col("text") != "")
    assert scores == {name: -len(text) for name, text in sound.select("request_id", "text").iter_rows()}
    assert 0 < len(scores) < completions.height, "nobody scores an empty reply"
