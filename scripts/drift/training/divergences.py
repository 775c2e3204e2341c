"""How far two policies are apart on given replies, and the replies of a policy's own to measure it
on."""

from pathlib import Path
from typing import TypedDict

import torch

from drift.engines.transformers import TransformersEngine
from drift.progress import Progress
from drift.seeds import completion_seed
from drift.settings.sampling import DecodingSettings, GenerationSettings


class ReplyTokens(TypedDict):
    """A prompt and a reply to it as token ids."""

    prompt_id: str
    prompt_ids: list[int]
    reply_ids: list[int]


def own_replies(policy: Path, rows: list[ReplyTokens], max_tokens: int, seed: int) -> list[ReplyTokens]:
    """`rows` with a reply of the policy's own, drawn from its distribution as it is (temperature 1,
    nothing cut off); it has `max_tokens` tokens at most, its end of turn included.

    The prompt and `seed` alone decide each draw. The engine holds the policy in bf16, as it is
    stored.
    """
    decoding = DecodingSettings(temperature=1.0, top_p=1.0, top_k=0, repetition_penalty=1.0, max_tokens=max_tokens)
    settings = GenerationSettings(
        backend="transformers", context=None, decoding=decoding, choices=None, json_schema=None, endpoint=None
    )
    requests = [
        {
            "request_id": row["prompt_id"],
            "prompt_token_ids": row["prompt_ids"],
            "seed": completion_seed(seed, "divergences", row["prompt_id"]),
        }
        for row in rows
    ]
    replies = TransformersEngine(policy, settings).sampled(requests)
    return [ReplyTokens(**row | {"reply_ids": reply}) for row, reply in zip(rows, replies, strict=True)]


@torch.no_grad()
def divergences(policy, other, rows: list[ReplyTokens]) -> list[float]:
    """Of each row the mean over its reply's tokens of KL(policy || other) of the next token, in
    nats.

    An exact sum over the vocabulary at every position: the per-step term of the Rao-Blackwellised
    estimator of Amini, Vieira and Cotterell 2025.
    """
    means = []
    for row in Progress(rows, desc="KL", unit="reply"):
        # The logits at position t predict token t+1: those of the last prompt token and of the
        # reply's but its last are needed, so one more than the reply is kept and the last dropped.
        keep = len(row["reply_ids"]) + 1
        # Two tables of log-probabilities, reply tokens x vocabulary.
        ours, theirs = (
            model(torch.tensor([row["prompt_ids"] + row["reply_ids"]], device=model.device), logits_to_keep=keep)
            .logits[0, :-1]
            .float()
            .log_softmax(-1)
            for model in (policy, other)
        )
        theirs = theirs.to(ours.device)
        # sum over tokens and vocabulary of p (log p - log q)
        means.append((ours.exp() * (ours - theirs)).sum().item() / (keep - 1))
    return means
