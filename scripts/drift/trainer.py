"""TRL's DPO trainer as it is used here: its arguments, its data, how it resumes, and when it stops."""

import math
import shutil
import time
from pathlib import Path

import polars as pl
import torch
import trl
from datasets import Dataset
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer

from drift.cli import StageError
from drift.deadline import Deadline
from drift.lmhead import score_replies_only
from drift.progress import Progress


class Watch(TrainerCallback):
    """Progress in the log, a stop at the first figure that is not finite, and a checkpoint and a stop when time runs out.

    `checkpoint_seconds` is a guess of how long a checkpoint takes; the first one replaces it by what it took.
    """

    def __init__(self, deadline: Deadline, checkpoint_seconds: float):
        self.deadline, self.checkpoint_seconds, self.step_seconds = deadline, checkpoint_seconds, 0.0
        self.measured = self.stopped = False

    def on_train_begin(self, args, state, control, **_):
        self.bar = Progress(total=state.max_steps, initial=state.global_step, desc="train", unit="step")

    def on_step_begin(self, args, state, control, **_):
        self.began = time.monotonic()

    def on_step_end(self, args, state, control, **_):
        self.bar.update()
        self.ended = time.monotonic()
        self.step_seconds = max(self.step_seconds, self.ended - self.began)
        # Time must be left for another step and a checkpoint after it, each at its slowest so far and a half.
        if state.global_step < state.max_steps and self.deadline.near(1.5 * (self.step_seconds + self.checkpoint_seconds)):
            self.stopped = control.should_save = control.should_training_stop = True

    def on_save(self, args, state, control, **_):
        seconds = time.monotonic() - self.ended
        self.checkpoint_seconds = max(self.checkpoint_seconds, seconds) if self.measured else seconds
        self.measured = True

    def on_log(self, args, state, control, logs, **_):
        for metric, value in logs.items():
            if not math.isfinite(value):
                raise StageError(
                    f"gate 'finite loss' is shut: {metric} is {value} at step {state.global_step}; lower learning_rate"
                )
        if "loss" in logs:
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}", margin=f"{logs['rewards/margins']:.3f}", refresh=False)


class Trainer(DPOTrainer):
    """TRL's DPO trainer; without a GPU its LM head scores the replies only, which halves the time and gives the same loss."""

    def _precompute_ref_logps(self, dataset, name, batch_size):
        trl.trainer.dpo_trainer.tqdm = Progress
        # The first forward pass, and the last moment to change the head.
        if not torch.cuda.is_available():
            score_replies_only(self.model)
        return super()._precompute_ref_logps(dataset, name, batch_size)


def as_dataset(pairs: pl.DataFrame) -> Dataset:
    """Pairs as the trainer takes them: conversations, with their length in tokens for grouping."""
    rows = [
        {
            "pair_id": row["pair_id"],
            "prompt": row["prompt"],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
            "prompt_token_ids": row["prompt_token_ids"],
            "length": len(row["prompt_token_ids"]) + max(row["chosen_tokens"], row["rejected_tokens"]),
        }
        for row in pairs.iter_rows(named=True)
    ]
    return Dataset.from_list(rows)


def trainer_config(settings: dict, run: dict, state: Path) -> DPOConfig:
    """The trainer's arguments for one device. `settings` shape the policy; `run` (how it is made here) does not."""
    training = settings["training"]
    cuda = torch.cuda.is_available()
    return DPOConfig(
        output_dir=str(state),
        seed=settings["seed"],
        beta=training["beta"],
        loss_type=list(training["losses"]),
        loss_weights=list(training["losses"].values()),
        learning_rate=training["learning_rate"],
        lr_scheduler_type=training["schedule"],
        warmup_steps=training["schedule_warmup"],
        optim=training["optimizer"],
        num_train_epochs=settings["epochs"],
        per_device_train_batch_size=training["device_batch"],
        gradient_accumulation_steps=training["global_batch"] // training["device_batch"],
        max_length=training["max_length"],
        bf16=training["precision"] == "bf16",
        use_cpu=not cuda,
        gradient_checkpointing=run["gradient_checkpointing"],
        precompute_ref_log_probs=True,
        # Pairs of similar length share a batch; the sampler reads the lengths from a column that would else be removed.
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_steps=run["checkpoint_steps"],
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=cuda,
    )


def last_complete_checkpoint(state: Path) -> str | None:
    """The newest checkpoint that was written to its end; incomplete ones are deleted, as resuming from them fails."""
    for folder in sorted(state.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        if (folder / "trainer_state.json").is_file():
            return str(folder)
        shutil.rmtree(folder)
    return None
