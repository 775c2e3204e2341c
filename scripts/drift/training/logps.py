"""Log-probabilities of replies under a policy, pair by pair: nothing is padded, so that a figure depends on its pair alone."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM

from drift.chat import render_reply
from drift.cli import StageError
from drift.training import cpu_packing
from drift.training.cpu_lm_head import TokenScores


def load(folder: Path, number: int = 0):
    """A policy in fp32, as differences between policies are small against bf16's rounding; on the GPU of that number, if any."""
    gpus = torch.cuda.device_count()
    device = f"cuda:{number % gpus}" if gpus else "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, device_map={"": device}
    ).eval()
    if device == "cpu":
        cpu_packing.prepare(model)
    return model


def pair_logps(model, row: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """log pi(chosen | prompt) and log pi(rejected | prompt) of a row of `prompt_ids`, `chosen_ids`, `rejected_ids`: the sums
    over a reply's tokens of their log-probabilities (natural logarithm), scalars."""
    prompt, replies = row["prompt_ids"], (row["chosen_ids"], row["rejected_ids"])
    if not cpu_packing.is_prepared(model):
        return tuple(_reply_logp(model, prompt, reply) for reply in replies)
    input_ids = pad_sequence([torch.tensor(prompt + reply) for reply in replies], batch_first=True)
    labels = pad_sequence(
        [torch.tensor([-100] * len(prompt) + reply) for reply in replies], batch_first=True, padding_value=-100
    )
    mask = pad_sequence([torch.ones(len(prompt + reply), dtype=torch.long) for reply in replies], batch_first=True)
    hidden = cpu_packing.hidden_states(model.base_model, input_ids, mask, labels)
    scores, *_ = TokenScores.apply(hidden, model.get_output_embeddings().weight, labels[labels != -100])
    return tuple(part.sum() for part in scores.split([len(reply) for reply in replies]))


def _reply_logp(model, prompt: list[int], reply: list[int]) -> torch.Tensor:
    """One reply's; logits are made for its positions only and summed in fp32."""
    ids = torch.tensor([prompt + reply], device=model.device)
    # The logits at position t predict token t+1: the last prompt token's and all of the reply's but its last.
    logits = model(ids, logits_to_keep=len(reply) + 1).logits[0, :-1].float()
    targets = ids[0, -len(reply) :]
    return (logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)).sum()


def token_rows(pairs: Iterable[dict], tokenizer, key: str = "pair_id") -> list[dict]:
    """Pairs (rows of Pairs, or of Prompts with both sides and `key="prompt_id"`) as token ids.

    Raises StageError where the chat template renders a prompt differently once a reply follows.
    """
    rows = []
    for row in pairs:
        sides = {f"{side}_ids": render_reply(tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected")}
        if None in sides.values():
            raise StageError(f"pair {row[key]}: its prompt and a reply share a token; rebuild the pairs with this tokenizer")
        rows.append({"pair_id": row[key], "prompt_ids": row["prompt_token_ids"], **sides})
    return rows
