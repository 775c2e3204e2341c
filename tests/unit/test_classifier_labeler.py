"""A sequence classifier labels exchanges: what it reads, what it says, and what becomes of that."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from pydantic import ValidationError
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

import classify
from drift import tables
from drift.cli import StageError
from drift.config.data import Labeler
from drift.engines import classifiers
from drift.labelers import NO_FOLLOW_UP, classifier
from drift.settings.data import ClassifySettings
from tests.conftest import snakemake, tiny_config

CLASSES = {"angry": "DSAT", "annoyed": "DSAT", "glad": "SAT", "other": "NEUTRAL"}
# Of the small classifier.
ROOM = 40
LONG = "river " * 60


@pytest.fixture(scope="module")
def small(tmp_path_factory, tokenizer) -> Path:
    """Folder of a small randomly initialised encoder with four classes, and no chat template."""
    torch.manual_seed(0)
    names = dict(enumerate(CLASSES))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=ROOM,
        initializer_range=0.5,
        id2label=names,
        label2id={name: number for number, name in names.items()},
    )
    folder = tmp_path_factory.mktemp("classifier")
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    file.write_text(
        json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != "chat_template"})
    )
    return folder


def settings_of(folder: Path, **changes) -> ClassifySettings:
    return ClassifySettings(
        **{"path": str(folder), "classes": sorted(CLASSES), "reads": ["feedback"], "context": 512} | changes
    )


def exchange(number: int, feedback: str | None) -> dict:
    row = {"source": "s", "unseen": False, "flags": [], "user": "What?", "response": "That."}
    return row | {"conversation_id": f"s:{number:02d}", "turn": 0, "feedback": feedback}


@pytest.fixture
def run_classify(tmp_path, monkeypatch, small):
    """Run the program on exchanges with these follow-ups; returns its rows by conversation."""

    def run(feedback: list[str | None], shard: tuple[int, int] = (1, 1), **changes) -> dict[str, dict[str, float]]:
        rows = [exchange(number, text) for number, text in enumerate(feedback)]
        tables.write_table(pl.DataFrame(rows, schema=tables.Turns.create_empty().schema), tables.Turns, tmp_path / "turns")
        options = {"turns": tmp_path / "turns", "model": small, "probabilities": tmp_path / "probabilities"}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        words += ["--shard", *map(str, shard), "--settings", settings_of(small, **changes).canonical()]
        monkeypatch.setattr(sys, "argv", ["classify.py", *words])
        classify.main()
        written = tables.read_table(tables.ClassProbabilities, tmp_path / "probabilities")
        groups = written.group_by("conversation_id", maintain_order=True)
        return {name: dict(rows.select("class_name", "probability").rows()) for (name,), rows in groups}

    return run


def test_every_answered_exchange_gets_the_probabilities_of_the_model_itself(run_classify, small, monkeypatch):
    monkeypatch.setattr(classify, "AT_ONCE", 2)
    feedback = ["No.", "Thanks a lot, that helps.", None, "Why?", "No.", "Oh.", LONG]
    found = run_classify(feedback)
    assert found.keys() == {f"s:{number:02d}" for number in (0, 1, 3, 4, 5)}, "neither the unanswered nor the long one"
    model, own = classifiers.load(small, "path")
    for name, shares in found.items():
        with torch.no_grad():
            alone = model(**own(feedback[int(name[2:])], return_tensors="pt")).logits[0].softmax(0)
        assert shares == pytest.approx(dict(zip(CLASSES, alone.tolist(), strict=True)), abs=1e-5)
    assert found["s:00"] != pytest.approx(found["s:01"], abs=1e-2)


def test_shards_together_are_the_whole(run_classify):
    feedback = ["No.", "Thanks.", None, "Why?", "Oh no."]
    whole = run_classify(feedback)
    parts = [run_classify(feedback, (i, 3)) for i in (1, 2, 3)]
    assert sum(map(len, parts)) == len(whole) == 4
    for name, shares in (item for part in parts for item in part.items()):
        assert shares == pytest.approx(whole[name], abs=1e-5)


def test_a_classifier_is_shown_the_parts_that_the_configuration_names_in_the_order_of_the_exchange(small, tokenizer):
    row = exchange(0, "No.") | {"user": "Who?", "response": "They."}
    _, plain = classifiers.load(small, "path")
    for reads, texts in (
        (["feedback"], ["No."]),
        (["feedback", "response"], ["They.", "No."]),
        (["user", "response", "feedback"], ["Who?\n\nThey.", "No."]),
    ):
        shown = classify.messages(row, reads)
        assert classifiers.encode(plain, shown)["input_ids"] == plain(*texts)["input_ids"]
    chat = [{"role": role, "content": text} for role, text in (("user", "Who?"), ("assistant", "They."), ("user", "No."))]
    assert shown == chat
    encoded = classifiers.encode(tokenizer, shown)["input_ids"]
    assert encoded == tokenizer.apply_chat_template(chat, return_dict=False), "in its template, where it has one"


def test_positions_that_are_numbered_after_the_padding_are_no_room(tokenizer):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "pad_token_id": 1}
    model = RobertaForSequenceClassification(RobertaConfig(vocab_size=9, max_position_embeddings=34, **sizes))
    assert classifiers.longest(model, tokenizer) == 32
    model(torch.full((1, 32), 5))
    with pytest.raises(RuntimeError, match="out of bounds"):
        model(torch.full((1, 33), 5))


@pytest.mark.parametrize("classes", [["angry", "annoyed", "glad"], [*sorted(CLASSES), "happy"]])
def test_classes_that_are_not_the_models_are_refused_before_its_weights_are_read(tmp_path, small, classes):
    (tmp_path / "config.json").write_text((small / "config.json").read_text())
    with pytest.raises(StageError, match="the classes of this classifier are angry, annoyed, glad, other, and data"):
        classify.check_classes(tmp_path, settings_of(small, classes=classes))
    assert classify.check_classes(tmp_path, settings_of(small)) == list(CLASSES)


def test_a_classifier_whose_classes_can_hold_together_is_refused(tmp_path, small):
    config = json.loads((small / "config.json").read_text()) | {"problem_type": "multi_label_classification"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(StageError, match="do not exclude each other"):
        classify.check_classes(tmp_path, settings_of(small))


def said(*shares: tuple[float, ...]) -> pl.DataFrame:
    """ClassProbabilities of exchanges 0, 1, ... with these, in the order of CLASSES."""
    rows = [
        (f"s:{number:02d}", 0, name, share)
        for number, exchange in enumerate(shares)
        for name, share in zip(CLASSES, exchange, strict=True)
    ]
    return pl.DataFrame(rows, schema=tables.ClassProbabilities.create_empty().schema, orient="row")


def test_the_label_with_the_largest_summed_probability_counts_and_its_most_probable_class_is_the_evidence():
    turns = pl.DataFrame([exchange(number, None if number == 2 else "So?") for number in range(4)])
    answers = classifier.answers(said((0.25, 0.3, 0.4, 0.05), (0.1, 0.1, 0.1, 0.7)), CLASSES)
    labels, dropped = classifier.label(turns, answers)
    assert labels.select("conversation_id", "label", "score").rows() == [
        ("s:00", "DSAT", pytest.approx(0.55)),
        ("s:01", "NEUTRAL", pytest.approx(0.7)),
    ]
    assert labels["evidence"].to_list() == [["class annoyed: 0.3"], ["class other: 0.7"]]
    assert dropped == {NO_FOLLOW_UP: 1, classifier.TOO_LONG: 1}
    assert labels.height + dropped.total() == turns.height
    turned = classifier.answers(said((0.25, 0.3, 0.4, 0.05)), CLASSES | {"annoyed": "SAT"})
    assert turned.select("label", "score").rows() == [("SAT", pytest.approx(0.7))]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": None}, "needs path"),
        ({"classes": None}, "and classes"),
        ({"classes": {"angry": "DSAT", "glad": "HAPPY"}}, "'DSAT', 'SAT' or 'NEUTRAL'"),
        ({"max_replies": 9}, "leave out endpoint and max_replies"),
        ({"reads": ["user", "response"]}, "feedback among them"),
        ({"reads": ["feedback", "feedback"]}, "each part once"),
        ({"kind": "rubric"}, "of kind classifier alone"),
        ({"kind": "lexical", "classes": None}, "or make it a rubric or a classifier"),
    ],
)
def test_a_row_that_a_classifier_cannot_use_is_refused_with_the_cure(changes, message):
    row = {"kind": "classifier", "path": "hf:x/y@z", "classes": CLASSES}
    assert Labeler.model_validate(row).reads == ["feedback"]
    with pytest.raises(ValidationError, match=message):
        Labeler.model_validate(row | changes)


@pytest.mark.slow
def test_a_run_labels_by_a_classifier_and_counts_every_exchange(tmp_path, small, tiny_model, logs_file, warm_environments):
    config = tiny_config(tiny_model, logs_file) | {"environments": warm_environments}
    row = {"kind": "classifier", "path": str(small), "classes": CLASSES, "shards": 2}
    config["data"] |= {"labelers": {"mood": row}, "labeler": "mood"}
    results = tmp_path / "results/tiny/data"
    ledger = str((results / "ledgers/labels.parquet").relative_to(tmp_path))
    snakemake(tmp_path, config, ledger)
    labels = tables.read_table(tables.Labels, results / "labels.parquet")
    turns = tables.read_table(tables.Turns, results / "turns.parquet")
    rows = pl.read_parquet(results / "ledgers/labels.parquet").filter(lineage="labels:mood").sort("step")
    assert rows["rows_in"].to_list() == [turns.height, 120, 120]
    assert labels.height == rows["rows_out"].to_list()[-1] == 120, "three of the four replies of 40 conversations are answered"
    assert labels["label"].n_unique() > 1
    assert labels["score"].min() > 0.25
    shards = sorted((results / "labelers/mood/classes").iterdir())
    before = [shard.stat().st_mtime_ns for shard in shards]
    config["data"]["labelers"]["mood"]["classes"] = CLASSES | dict.fromkeys(("angry", "annoyed"), "SAT")
    snakemake(tmp_path, config, ledger)
    assert [shard.stat().st_mtime_ns for shard in shards] == before, "nothing was classified again"
    assert "DSAT" not in tables.read_table(tables.Labels, results / "labels.parquet")["label"]
