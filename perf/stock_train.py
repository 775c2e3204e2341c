"""What the released code trains with: TRL's DPOTrainer and the released hyperparameters, nothing
added.

Reads Pairs and a policy; writes a checkpoint of the end like any such program, and prints, as one
line of JSON, how long it took and the loss of every step. The released versions of TRL computed the
reference's log-probabilities as they went, by a second model next to the policy; so does this.
"""

import json
import tempfile
import time
from pathlib import Path

import polars as pl
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from drift import cli
from drift.settings.training import PolicyTraining
from drift.tables import Pairs, read_table
from drift.training.order import SimilarLengths
from drift.training.trainer import as_dataset


class InOurOrder(DPOTrainer):
    """The same, with the pairs in the order of our `train` rule, so that its losses can be compared
    step by step. In its own random order it pads more, and takes longer."""

    def _get_train_sampler(self, train_dataset=None):
        batch = self.args.per_device_train_batch_size
        return SimilarLengths(list(self.train_dataset["length"]), batch, self.args.seed, lambda: 0)


def stock_trainer(folder: str, training: PolicyTraining, model, pairs: pl.DataFrame, tokenizer, **options) -> DPOTrainer:
    """TRL's trainer of `model` on `pairs` with the released hyperparameters; `options` are the
    trainer's own."""
    config = DPOConfig(
        output_dir=folder,
        beta=training.beta,
        loss_type=list(training.losses),
        loss_weights=list(training.losses.values()),
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        warmup_steps=training.schedule_warmup,
        optim=training.optimizer,
        num_train_epochs=1,
        per_device_train_batch_size=training.device_batch,
        gradient_accumulation_steps=1,
        gradient_checkpointing=True,
        bf16=training.precision == "bf16",
        max_length=training.max_length,
        seed=42,
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    return InOurOrder(model, args=config, train_dataset=as_dataset(pairs), processing_class=tokenizer, **options)


def main() -> None:
    command = cli.parser(__doc__, PolicyTraining)
    command.add_argument("--pairs", required=True)
    command.add_argument("--policy", required=True, type=Path, help="folder of the policy to start from")
    arguments = command.parse_args()

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trainer = stock_trainer(
            folder,
            arguments.settings,
            AutoModelForCausalLM.from_pretrained(arguments.policy, dtype=torch.float32, local_files_only=True),
            read_table(Pairs, arguments.pairs),
            AutoTokenizer.from_pretrained(arguments.policy, local_files_only=True),
        )
        trainer.train()
        trainer.save_model()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    steps = trainer.state.log_history[-1]["train_runtime"]
    print(json.dumps({"losses": losses, "training": steps, "program": time.monotonic() - started}))


if __name__ == "__main__":
    cli.run(main)
