"""Offline self-distillation from what users answered (Kleine Buening et al. 2026, arXiv 2603.12273;
github.com/lasgroup/user_interactions, offline_sdpo_trainer.py). See drift.training.

The teacher is the policy itself, shown in the prompt what the user answered to the reply (o). For
each token of the logged reply y, with sg for no gradient:

    A_t = sg(log pi(y_t|x, o, y_<t) - log pi(y_t|x, y_<t))
    loss of a reply = -mean over t of A_t log pi(y_t|x, y_<t)

so that tokens which the teacher finds likelier become likelier, and the others less likely. Its
gradient is what counts; its value means nothing. As in the authors' program, the first two tokens
of a reply are left out, and every reply weighs the same. There is no reference.
"""

from pathlib import Path

import polars as pl
import torch
import transformers
from datasets import Dataset
from peft import get_peft_model
from torch.utils.data import Sampler
from transformers import TrainingArguments
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
from trl.trainer.utils import add_fused_lm_head

from drift.cli import StageError
from drift.settings.training import TrainingRun, TrainSettings
from drift.tables import Unpaired, read_table
from drift.training.cpu_lm_head import score_replies_only
from drift.training.gates import Gates
from drift.training.kto import ReplyGates
from drift.training.logps import PairLogps, PairTokens
from drift.training.order import by_length
from drift.training.trainer import shared_arguments

REWARDS = ()

# Tokens at the beginning of a reply that are not trained on.
SKIPPED = 2
# What shared_arguments has for TRL's trainers alone.
_OF_TRL = ("beta", "max_length", "disable_dropout", "precompute_ref_log_probs")


def read_rows(own: Path, replayed: list[Path]) -> pl.DataFrame:
    """The rows of an Unpaired table; replies of earlier iterations are the same ones."""
    rows = read_table(Unpaired, own)
    if rows.is_empty() or rows["hindsight_token_ids"].null_count():
        raise StageError(f"{own} has replies without an answer of their user, or none at all; make it again for this loss")
    return rows


def token_rows(rows: pl.DataFrame, settings: TrainSettings) -> list[PairTokens]:
    """The token ids of prompt and reply, which the policy reads, and the teacher once more."""
    columns = rows.select("prompt_id", "prompt_token_ids", "reply_token_ids")
    return [
        PairTokens(pair_id=prompt_id, prompt_ids=prompt, chosen_ids=reply, rejected_ids=reply)
        for prompt_id, prompt, reply in columns.iter_rows()
    ]


def selected(
    gates: Gates, rows: pl.DataFrame, tokens: list[PairTokens], reference: PairLogps, settings: TrainSettings
) -> tuple[pl.DataFrame, list[PairTokens]]:
    """All of them, whose length with the user's answer `gates` looks at."""
    longest = (rows["hindsight_token_ids"].list.len() + rows["reply_tokens"]).max()
    gates.check(
        "nothing cut in hindsight",
        longest <= settings.training.max_length,
        f"prompt, answer of the user and reply are {longest} tokens at most",
        "raise training.max_length and make the rows again",
    )
    return rows, tokens


def arguments(settings: TrainSettings, run: TrainingRun, state: Path, rows: pl.DataFrame) -> TrainingArguments:
    """The trainer's arguments, whatever the rows are."""
    shared = shared_arguments(settings, run, state)
    return TrainingArguments(**{name: value for name, value in shared.items() if name not in _OF_TRL})


def as_dataset(rows: pl.DataFrame, settings: TrainSettings) -> Dataset:
    """The rows as the trainer takes them: token ids, as they were checked."""
    columns = rows.select(
        "prompt",
        "prompt_token_ids",
        "cut",
        pair_id="prompt_id",
        prompt_ids="prompt_token_ids",
        completion_ids="reply_token_ids",
        hindsight_ids="hindsight_token_ids",
        length=pl.col("hindsight_token_ids").list.len() + pl.col("reply_tokens"),
    )
    return Dataset.from_list(columns.to_dicts())


class Trainer(transformers.Trainer):
    """A policy that learns from itself in hindsight."""

    loss_is_scaled_for_ga = False

    def __init__(self, model, args: TrainingArguments, reference: PairLogps, *, processing_class, peft_config=None, **options):
        add_fused_lm_head(model)
        if not torch.cuda.is_available():
            score_replies_only(model, pairs=False)
        if peft_config is not None:
            transformers.set_seed(args.seed)  # adapters begin at random
            model = get_peft_model(model, peft_config)
            if args.gradient_checkpointing:
                model.enable_input_require_grads()
        collate = DataCollatorForUnpairedPreference(pad_token_id=processing_class.pad_token_id)
        super().__init__(
            model, args, data_collator=lambda rows: both_contexts(rows, collate), processing_class=processing_class, **options
        )
        self.signals: list[float] = []

    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, num_items_in_batch=None) -> torch.Tensor:
        """See above, of a batch of replies."""
        with torch.no_grad():
            teacher = reply_logps(model, inputs, "hindsight_")
        policy = reply_logps(model, inputs, "")
        signal = teacher - policy.detach()
        weights = token_weights(inputs["completion_mask"])
        self.signals.append((weights * signal).sum().item())
        return -(weights * signal * policy).sum()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With the mean of what the teacher finds a token likelier, in nats, over all devices: each
        has as many replies."""
        if self.signals:
            own = torch.tensor(sum(self.signals) / len(self.signals), dtype=torch.float64, device=self.accelerator.device)
            logs["signal"] = self.accelerator.reduce(own, "mean").item()
            self.signals.clear()
        super().log(logs, start_time)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        return by_length(self, train_dataset)


def both_contexts(rows: list[dict], collate) -> dict[str, torch.Tensor]:
    """A batch as the policy reads it, and under names with hindsight_ as the teacher does: replies
    x length each, padded on the right."""
    batch = {}
    for prefix, prompt in (("", "prompt_ids"), ("hindsight_", "hindsight_ids")):
        read = [{"prompt_ids": row[prompt], "completion_ids": row["completion_ids"], "label": True} for row in rows]
        padded = collate(read)
        batch |= {prefix + name: padded[name] for name in ("input_ids", "attention_mask", "completion_mask")}
    return batch


def reply_logps(model, batch: dict[str, torch.Tensor], prefix: str) -> torch.Tensor:
    """log pi of each token of the replies of a batch, one reply after the other."""
    ids, mask = batch[f"{prefix}input_ids"], batch[f"{prefix}completion_mask"]
    labels = ids.masked_fill(mask == 0, -100)
    scored = model(
        input_ids=ids, attention_mask=batch[f"{prefix}attention_mask"], labels=labels, fused_lm_head=True, use_cache=False
    )
    return scored.log_probs[mask[:, 1:] == 1]


def token_weights(mask: torch.Tensor) -> torch.Tensor:
    """What each token weighs in the mean over replies of their means over tokens, one reply after
    the other, 0 for the first SKIPPED of each. `mask`: replies x length, 1 for tokens of a
    reply."""
    place = mask.cumsum(1) * mask  # 1, 2, ... within a reply
    counted = (place > SKIPPED).double()
    weights = counted / counted.sum(1, keepdim=True).clamp(min=1) / len(mask)
    return weights[mask == 1]


def gates(recorded: Gates, dataset: Dataset) -> ReplyGates:
    """The gates on the trainer's data set."""
    return ReplyGates(
        recorded,
        [
            row
            | {"chosen_ids": row["completion_ids"], "rejected_ids": row["completion_ids"]}
            | {"chosen_cut": row["cut"], "rejected_cut": row["cut"]}
            for row in dataset
        ],
    )


def own_logps(reference: PairLogps) -> PairLogps:
    """None: the table is of pairs."""
    return {}
