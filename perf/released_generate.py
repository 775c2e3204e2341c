"""What the released code samples with: Hugging Face generate, batches of 16 in the table's order,
padded on the left.

Reads a Requests table and a policy; writes nothing and prints, as one line of JSON, what it took.
The prompts are those of the requests, so that both programs read and write the
same; the released code's own text, its cut at 2048 tokens and its parsing are left out, since none
of them makes it faster.
"""

import json
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from drift import cli
from drift.settings.sampling import DecodingSettings
from drift.tables import Requests, read_table
from generate import shard

BATCH = 16


@torch.no_grad()
def answer(model, tokenizer, prompts: list[list[int]], decoding: DecodingSettings) -> int:
    """Answer one batch of prompts (token ids); returns the number of tokens written, ends of turns
    included."""
    batch = tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(model.device)
    chosen = decoding.model_dump(include={"temperature", "top_p", "top_k", "repetition_penalty"})
    output = model.generate(**batch, do_sample=True, max_new_tokens=decoding.max_tokens, **chosen)
    replies = output[:, batch["input_ids"].shape[1] :]
    ended = (replies == tokenizer.eos_token_id).int()
    # Tokens up to and with the first end of turn: those before it, where the running count of ends
    # is 0, and the end itself.
    return int((ended.cumsum(1) - ended == 0).sum())


def main() -> None:
    command = cli.parser(__doc__, DecodingSettings)
    command.add_argument("--requests", required=True)
    command.add_argument("--policy", required=True, type=Path)
    command.add_argument("--shard", required=True, nargs=2, type=int, metavar=("I", "N"), help="as generate.py has it")
    command.add_argument("--half", required=True, type=int, choices=(0, 1), help="which half of the shard")
    arguments = command.parse_args()

    requests = shard(read_table(Requests, arguments.requests), *arguments.shard)
    middle = requests.height // 2
    half = requests[middle:] if arguments.half else requests[:middle]
    prompts = half["prompt_token_ids"].to_list()
    started = time.monotonic()
    tokenizer = AutoTokenizer.from_pretrained(arguments.policy, padding_side="left", local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        arguments.policy, dtype=torch.bfloat16, device_map="auto", local_files_only=True
    )
    ready = time.monotonic()
    written = sum(
        answer(model, tokenizer, prompts[row : row + BATCH], arguments.settings) for row in range(0, len(prompts), BATCH)
    )
    print(json.dumps({"tokens": written, "start": ready - started, "generating": time.monotonic() - ready}))


if __name__ == "__main__":
    cli.run(main)
