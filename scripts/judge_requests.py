"""Write down what a judge is asked: which of two replies is better, in both orders of presentation.

Reads a benchmark's prompts, a policy's Responses and the judge's tokenizer; writes a Requests table. The policy's answer is
compared with the task's baseline. Text of conversations is put into the template in one pass, so braces in it stay text.
"""

import re
from pathlib import Path

import polars as pl

from drift import cli
from drift.chat import Messages, load_tokenizer, markers, render, trim
from drift.seeds import completion_seed
from drift.tables import Prompts, Requests, Responses, read_table, write_table

TEMPLATE = Path(__file__).parent / "templates" / "judge.txt"


def fill(template: str, values: dict[str, str]) -> str:
    """`template` with each {name} replaced by its value; values are not looked into."""
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template)


def plain_words(text: str, words: list[str]) -> str:
    """`text` with each of `words` (the judge's chat markers) broken by a space, so that it stays text."""
    for word in words:
        text = text.replace(word, f"{word[0]} {word[1:]}")
    return text


def question(template: str, prompt: Messages, reply_a: str, reply_b: str) -> Messages:
    """The judge's chat for two replies to `prompt`."""
    conversation = "\n\n".join(f"{message['role'].upper()}: {message['content']}" for message in prompt)
    return [{"role": "user", "content": fill(template, {"conversation": conversation, "reply_a": reply_a, "reply_b": reply_b})}]


def build(rows: pl.DataFrame, template: str, tokenizer, settings: dict) -> tuple[pl.DataFrame, int]:
    """Two requests per row, and how many rows do not fit the judge's context even with the last message alone."""
    requests, too_long, words = [], 0, markers(tokenizer)
    for row in rows.iter_rows(named=True):
        policy, baseline = plain_words(row["response"], words), plain_words(row["rejected"], words)
        row["prompt"] = [message | {"content": plain_words(message["content"], words)} for message in row["prompt"]]
        replies = {"AB": (policy, baseline), "BA": (baseline, policy)}

        def fits(prompt: Messages, replies: dict = replies) -> bool:
            asked = question(template, prompt, *replies["AB"])
            return len(render(tokenizer, asked)) < settings["context"]

        prompt = trim(row["prompt"], fits)
        if prompt is None:
            too_long += 1
            continue
        for order, (reply_a, reply_b) in replies.items():
            messages = question(template, prompt, reply_a, reply_b)
            requests.append(
                {
                    "request_id": f"{row['prompt_id']}#judge-{order}-{row['sample']}",
                    "prompt_id": row["prompt_id"],
                    "kind": f"judge-{order}",
                    "sample": row["sample"],
                    "messages": messages,
                    "prompt_token_ids": render(tokenizer, messages),
                    "seed": completion_seed(settings["seed"], "judge", row["prompt_id"], order, row["sample"]),
                }
            )
    return pl.DataFrame(requests, schema=Requests.create_empty().schema), too_long


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--prompts", required=True, help="the benchmark, fitted")
    command.add_argument("--responses", required=True)
    command.add_argument("--judge", required=True, type=Path, help="folder with the judge's tokenizer")
    command.add_argument("--requests", required=True, help="table to write")
    arguments = command.parse_args()

    prompts = read_table(Prompts, arguments.prompts).select("prompt_id", "prompt", "rejected")
    rows = (
        read_table(Responses, arguments.responses)
        .join(prompts, on="prompt_id", how="inner")
        .filter(pl.col("rejected").is_not_null())
    )
    requests, too_long = build(rows, TEMPLATE.read_text(), load_tokenizer(arguments.judge), arguments.settings)
    print(
        f"{requests.height} questions about {rows.height} answers; {too_long} answers are too long for the judge and go unjudged"
    )
    if requests.is_empty():
        raise cli.StageError("nothing to judge: no answer fits the judge's context; raise evaluation.judges.NAME.context")
    write_table(requests, Requests, arguments.requests)


if __name__ == "__main__":
    cli.run(main)
