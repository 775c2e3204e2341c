"""Log-probabilities of replies under a policy, pair by pair: nothing is padded, so that a value
depends on its pair alone."""

from pathlib import Path
from typing import TypedDict

import polars as pl
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM
from transformers.modeling_layers import GradientCheckpointingLayer

from drift.chat import render_reply
from drift.cli import StageError
from drift.tables import Logps, read_table, write_table
from drift.training import cpu_packing, remainder
from drift.training.cpu_lm_head import TokenScores

# pair_id -> log-probabilities of the chosen and of the rejected reply.
PairLogps = dict[str, tuple[float, float]]


class PairTokens(TypedDict):
    """A pair as the trainer reads it: token ids of the prompt and of both replies."""

    pair_id: str
    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]


def read_logps(path: str | Path) -> PairLogps:
    """The rows of a Logps table."""
    return {pair_id: (chosen, rejected) for pair_id, chosen, rejected in read_table(Logps, path).iter_rows()}


def write_logps(logps: PairLogps, path: str | Path) -> None:
    """Write a Logps table."""
    rows = [(pair_id, *sides) for pair_id, sides in logps.items()]
    write_table(pl.DataFrame(rows, schema=Logps.create_empty().schema, orient="row"), Logps, path)


def token_rows(pairs: pl.DataFrame) -> list[PairTokens]:
    """The token ids that rows of Pairs carry."""
    columns = {"prompt_ids": "prompt_token_ids", "chosen_ids": "chosen_token_ids", "rejected_ids": "rejected_token_ids"}
    return pairs.select("pair_id", **columns).to_dicts()


def rendered_rows(prompts: pl.DataFrame, tokenizer) -> list[PairTokens]:
    """The token ids of rows of Prompts that have both replies; their prompt_id is the pair_id.

    Raises StageError where the chat template renders a prompt differently once a reply follows.
    """
    rows = []
    for row in prompts.iter_rows(named=True):
        chosen, rejected = (render_reply(tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected"))
        if chosen is None or rejected is None:
            raise StageError(
                f"prompt {row['prompt_id']}: the template does not put a reply after the prompt as it is; rebuild the prompts with this tokenizer"
            )
        rows.append(
            PairTokens(pair_id=row["prompt_id"], prompt_ids=row["prompt_token_ids"], chosen_ids=chosen, rejected_ids=rejected)
        )
    return rows


def load(folder: Path, remainder_folder: Path | None = None, *, number: int = 0, backward: bool = False):
    """A policy in fp32, as differences between policies are small against bf16's rounding; on the
    GPU of that number, if there is one. With its remainder as it was trained, else as it is
    served. `backward`: gradients are wanted, on a GPU by `recompute_layers`."""
    gpus = torch.cuda.device_count()
    device = f"cuda:{number % gpus}" if gpus else "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, device_map={"": device}
    ).eval()
    remainder.restore(model, remainder_folder)
    if device == "cpu":
        cpu_packing.prepare(model)
    elif backward:
        # For a long pair the layers of a 7B would keep more than its weights take.
        recompute_layers(model)
    return model


def recompute_layers(model) -> None:
    """Keep the input of each layer alone for the backward pass of `model`, and compute the layer
    again there: the same gradients for a fraction of the memory (Chen et al. 2016, arXiv
    1604.06174)."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            # Layers are computed again in training mode alone. Their parts stay in evaluation mode:
            # nothing is dropped out.
            module.training = True


def pair_logps(model, row: PairTokens) -> tuple[torch.Tensor, torch.Tensor]:
    """log pi(chosen | prompt) and log pi(rejected | prompt), scalars: the sums over a reply's
    tokens of their log-probabilities, in nats."""
    prompt, replies = row["prompt_ids"], (row["chosen_ids"], row["rejected_ids"])
    if not cpu_packing.is_prepared(model):
        return tuple(reply_logp(model, prompt, reply) for reply in replies)
    # As `pack` takes a batch of one pair: 2 x length, the chosen sequence first, padded on the
    # right.
    input_ids = pad_sequence([torch.tensor(prompt + reply) for reply in replies], batch_first=True)
    labels = pad_sequence(
        [torch.tensor([-100] * len(prompt) + reply) for reply in replies], batch_first=True, padding_value=-100
    )
    mask = pad_sequence([torch.ones(len(prompt + reply), dtype=torch.long) for reply in replies], batch_first=True)
    # (chosen + rejected tokens) x width, then one log-probability a token.
    hidden = cpu_packing.hidden_states(model.base_model, input_ids, mask, labels)
    scores, *_ = TokenScores.apply(hidden, model.get_output_embeddings().weight, labels[labels != -100])
    return tuple(part.sum() for part in scores.split([len(reply) for reply in replies]))


def reply_logp(model, prompt: list[int], reply: list[int], temperature: float = 1.0) -> torch.Tensor:
    """The same of one reply, of the policy as it is sampled at `temperature`; logits are computed
    for its positions only and summed in fp32."""
    ids = torch.tensor([prompt + reply], device=model.device)
    # The logits at position t predict token t+1, so these are the last prompt token's and all of
    # the reply's but its last: reply x vocabulary.
    logits = model(ids, logits_to_keep=len(reply) + 1, use_cache=False).logits[0, :-1].float() / temperature
    targets = ids[0, -len(reply) :]
    return (logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)).sum()
