"""Score an iteration's candidates with a reward model.

Reads the Prompts, Requests and Completions of the iteration, and a sequence classifier with one output; writes Ranks. The
classifier sees the plain prompt and the reply: in its chat template where its tokenizer has one, else as a pair of texts (the
conversation, the reply), as OpenAssistant's reward models were trained. Nothing is cut: what is longer than max_length gets no score.

Settings: max_length (tokens).
"""

from pathlib import Path

import polars as pl
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from drift import cli
from drift.chat import Messages
from drift.judging.candidates import sound
from drift.progress import Progress
from drift.tables import Completions, Prompts, Ranks, Requests, read_table, write_table


def encode(tokenizer, prompt: Messages, reply: str) -> dict[str, list[int]]:
    """What the classifier reads, as token ids."""
    if tokenizer.chat_template:
        messages = [*prompt, {"role": "assistant", "content": reply}]
        return {"input_ids": list(tokenizer.apply_chat_template(messages, return_dict=False))}
    said = "\n\n".join(message["content"] for message in prompt)
    return dict(tokenizer(said, reply))


@torch.no_grad()
def rewards(model, tokenizer, rows: list[dict], max_length: int) -> dict[str, float]:
    """Scores by request_id of `rows` (request_id, prompt, text); rows of more than `max_length` tokens have none.

    One row at a time: padding would change a classifier's figures, and candidates are few.
    """
    scores = {}
    for row in Progress(rows, desc="candidates"):
        encoded = encode(tokenizer, row["prompt"], row["text"].strip())
        if len(encoded["input_ids"]) <= max_length:
            inputs = {name: torch.tensor([ids], device=model.device) for name, ids in encoded.items()}
            scores[row["request_id"]] = float(model(**inputs).logits.squeeze())
    return scores


def load(folder: Path):
    """The classifier and its tokenizer. Raises StageError where the folder holds none with one output."""
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise cli.StageError(f"{folder}: no reward model can be loaded ({error}); fix reward_models.NAME.path") from error
    if model.config.num_labels != 1:
        raise cli.StageError(f"{folder}: a reward model has one output, this classifier {model.config.num_labels}")
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--prompts", required=True)
    command.add_argument("--requests", required=True)
    command.add_argument("--completions", required=True, nargs="+", help="its shards")
    command.add_argument("--model", required=True, type=Path, help="folder of the reward model")
    command.add_argument("--ranks", required=True, help="table to write")
    arguments = command.parse_args()

    disable_progress_bar()
    asked = read_table(Requests, arguments.requests).select("request_id", "prompt_id")
    prompts = read_table(Prompts, arguments.prompts).select("prompt_id", "prompt")
    replies = sound(read_table(Completions, *arguments.completions)).select("request_id", "text")
    rows = asked.join(replies, on="request_id").join(prompts, on="prompt_id", validate="m:1").sort("request_id").to_dicts()
    scores = rewards(*load(arguments.model), rows, arguments.settings["max_length"])
    print(f"{len(scores)} of {len(rows)} candidates that ended their turn fit and were scored")
    write_table(pl.DataFrame(list(scores.items()), schema=Ranks.create_empty().schema, orient="row"), Ranks, arguments.ranks)


if __name__ == "__main__":
    cli.run(main)
