"""A reward model: a sequence classifier whose one output says how good a reply is, or one with
labels, each of which is worth something.

The score of one with labels is the expected value of a label: the sum over labels of its
probability times its weight (`rankers.NAME.weights`). So ordinal models rank finely, as WildReward
(arXiv 2602.08829), whose labels are 1, rejection, to 5, satisfaction.

The classifier sees the plain prompt and the reply, as drift/engines/classifiers.py shows them.
Nothing is cut: what is longer than max_length, or than the classifier has positions for, gets no
score.
"""

from pathlib import Path

from drift.cli import StageError
from drift.engines import classifiers
from drift.settings.sampling import RewardSettings

NEEDS_PATH = "a model"
READS = ("max_length", "weights")
_KEY = "rankers.NAME.path"


def scores(rows: list[dict], settings: RewardSettings, path: Path) -> dict[str, float]:
    """The classifier's output by request_id, or the expected value of its labels; rows of more than
    max_length tokens, or than it has positions for, have none.

    One row at a time: padding would change a classifier's outputs, and candidates are few. Raises
    StageError where the folder holds no classifier, or one whose labels are not those of `weights`.
    """
    from drift.progress import Progress

    labels = check_labels(path, settings.weights)
    worth = settings.weights and [settings.weights[label] for label in labels]
    classifier, tokenizer = classifiers.load(path, _KEY)
    room = min(settings.max_length, classifiers.positions(classifier))
    outputs = {}
    for row in Progress(rows, desc="candidates"):
        reply = {"role": "assistant", "content": row["text"].strip()}
        encoded = classifiers.encode(tokenizer, [*row["prompt"], reply])
        if len(encoded["input_ids"]) <= room:
            logits = classifiers.logits(classifier, [encoded])[0]
            outputs[row["request_id"]] = float(logits.softmax(0) @ logits.new_tensor(worth) if worth else logits)
    return outputs


def check_labels(folder: Path, weights: dict[str, float] | None) -> list[str]:
    """The labels of the classifier in `folder`, by the order of its outputs. Raises StageError
    where it has not one output, or with `weights` not these labels."""
    labels = classifiers.classes_of(classifiers.config_of(folder, _KEY))
    if weights is None and len(labels) != 1:
        raise StageError(
            f"{folder}: a reward model has one output, this classifier has {len(labels)}; fix {_KEY}, or say what its "
            f"labels are worth, rankers.NAME.weights: {{{', '.join(f'{label}: ...' for label in sorted(labels))}}}"
        )
    if weights is not None and sorted(weights) != sorted(labels):
        raise StageError(
            f"{folder}: the labels of this classifier are {', '.join(sorted(labels))}, and rankers.NAME.weights has "
            f"{', '.join(sorted(weights))}; give each label a weight"
        )
    return labels
