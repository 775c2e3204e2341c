"""A reward model: a sequence classifier whose one output says how good a reply is, or one with
labels, each of which is worth something.

The score of one with labels is the expected value of a label: the sum over labels of its
probability times its weight (`rankers.NAME.weights`). So ordinal models rank finely, as WildReward
(arXiv 2602.08829), whose labels are 1, rejection, to 5, satisfaction.

The classifier sees the plain prompt and the reply: in its chat template where its tokenizer has
one, else as a pair of texts (the conversation, the reply), as OpenAssistant's reward models were
trained. Nothing is cut: what is longer than max_length gets no score.
"""

from pathlib import Path

from drift.chat import Messages
from drift.cli import StageError
from drift.settings.sampling import RewardSettings

NEEDS_PATH = "a model"


def scores(rows: list[dict], settings: RewardSettings, path: Path) -> dict[str, float]:
    """The classifier's output by request_id, or the expected value of its labels; rows of more than
    max_length tokens have none.

    One row at a time: padding would change a classifier's outputs, and candidates are few. Raises
    StageError where the folder holds no classifier, or one whose labels are not those of `weights`.
    """
    import torch

    from drift.progress import Progress

    classifier, tokenizer = load(path, settings.weights)
    worth = settings.weights and [settings.weights[label] for _, label in sorted(classifier.config.id2label.items())]
    outputs = {}
    for row in Progress(rows, desc="candidates"):
        encoded = encode(tokenizer, row["prompt"], row["text"].strip())
        if len(encoded["input_ids"]) <= settings.max_length:
            inputs = {name: torch.tensor([ids], device=classifier.device) for name, ids in encoded.items()}
            with torch.no_grad():
                # logits: outputs of one row
                logits = classifier(**inputs).logits[0].float()
            outputs[row["request_id"]] = float(logits.softmax(0) @ logits.new_tensor(worth) if worth else logits)
    return outputs


def encode(tokenizer, prompt: Messages, reply: str) -> dict[str, list[int]]:
    """What the classifier reads, as token ids by the names of its inputs."""
    if tokenizer.chat_template:
        messages = [*prompt, {"role": "assistant", "content": reply}]
        return {"input_ids": list(tokenizer.apply_chat_template(messages, return_dict=False))}
    conversation = "\n\n".join(message["content"] for message in prompt)
    return dict(tokenizer(conversation, reply))


def load(folder: Path, weights: dict[str, float] | None = None):
    """The classifier and its tokenizer. Raises StageError where there is none with one output, or
    with `weights` none with these labels, before its weights are read."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        _check_labels(folder, AutoConfig.from_pretrained(folder, local_files_only=True), weights)
        model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise StageError(f"{folder}: no reward model can be loaded ({error}); fix rankers.NAME.path") from error
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _check_labels(folder: Path, config, weights: dict[str, float] | None) -> None:
    labels = sorted(config.id2label.values())
    if weights is None and len(labels) != 1:
        raise StageError(
            f"{folder}: a reward model has one output, this classifier has {len(labels)}; fix rankers.NAME.path, or say what its "
            f"labels are worth, rankers.NAME.weights: {{{', '.join(f'{label}: ...' for label in labels)}}}"
        )
    if weights is not None and sorted(weights) != labels:
        raise StageError(
            f"{folder}: the labels of this classifier are {', '.join(labels)}, and rankers.NAME.weights has "
            f"{', '.join(sorted(weights))}; give each label a weight"
        )
