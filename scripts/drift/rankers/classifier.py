"""A reward model: a sequence classifier whose one output says how good a reply is.

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
    """The classifier's output by request_id; rows of more than max_length tokens have none.

    One row at a time: padding would change a classifier's outputs, and candidates are few. Raises
    StageError where the folder holds no classifier with one output.
    """
    import torch

    from drift.progress import Progress

    classifier, tokenizer = load(path)
    outputs = {}
    for row in Progress(rows, desc="candidates"):
        encoded = encode(tokenizer, row["prompt"], row["text"].strip())
        if len(encoded["input_ids"]) <= settings.max_length:
            inputs = {name: torch.tensor([ids], device=classifier.device) for name, ids in encoded.items()}
            with torch.no_grad():
                # logits: 1 row x 1 output
                outputs[row["request_id"]] = float(classifier(**inputs).logits.squeeze())
    return outputs


def encode(tokenizer, prompt: Messages, reply: str) -> dict[str, list[int]]:
    """What the classifier reads, as token ids by the names of its inputs."""
    if tokenizer.chat_template:
        messages = [*prompt, {"role": "assistant", "content": reply}]
        return {"input_ids": list(tokenizer.apply_chat_template(messages, return_dict=False))}
    conversation = "\n\n".join(message["content"] for message in prompt)
    return dict(tokenizer(conversation, reply))


def load(folder: Path):
    """The classifier and its tokenizer. Raises StageError where there is none with one output."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise StageError(f"{folder}: no reward model can be loaded ({error}); fix rankers.NAME.path") from error
    if model.config.num_labels != 1:
        raise StageError(
            f"{folder}: a reward model has one output, this classifier has {model.config.num_labels}; fix rankers.NAME.path"
        )
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer
