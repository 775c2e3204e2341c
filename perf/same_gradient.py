"""Loss and gradient of one batch, in fp32: our trainer's against TRL's own, with weights that have
moved from the reference.

In bf16 the two differ by rounding (so do two ways of padding), and RMSprop, whose first steps take
little but the sign of a gradient, amplifies that, so a comparison step by step means little there.
`make bench-train` runs it.
"""

import tempfile
from pathlib import Path

import polars as pl
import torch
import yaml
from common import FOLDER, REPOSITORY
from stock_train import stock_trainer
from transformers import AutoModelForCausalLM

from drift import config as configuration
from drift.chat import load_tokenizer, pad_token_id
from drift.settings.training import PolicyTraining, TrainingRun, TrainSettings
from drift.tables import Pairs, read_table
from drift.training.logps import token_rows
from drift.training.reference_logps import score_pairs
from drift.training.trainer import Trainer, as_dataset, trainer_config

PAIRS = 4  # the shortest of the warm-up's; the first batch has two of them
STEP = 0.01  # of each weight's spread: how far the policy has moved


def moved(folder: Path):
    """The policy of `folder`, a step away in a direction that is always the same."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn(weights.shape, generator=generator) * weights.std() * STEP)
    return model


def first_step(trainer) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss of the trainer's first batch, and its gradient by weight."""
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
    loss.backward()
    return loss.item(), {name: weights.grad for name, weights in trainer.model.named_parameters()}


def main() -> None:
    values = configuration.load(yaml.safe_load((REPOSITORY / "perf/run.yaml").read_text()))
    small = {"precision": "fp32", "device_batch": 2, "global_batch": 2}
    training = PolicyTraining.of(values["training"] | small)
    run = TrainingRun.of(values["training"], deadline=None)
    policy, tokenizer = FOLDER / "base/policy", load_tokenizer(FOLDER / "base/policy")
    length = pl.col("prompt_token_ids").list.len() + pl.col("chosen_tokens") + pl.col("rejected_tokens")
    # TRL's own trainer ends every reply, those that were cut too.
    whole = read_table(Pairs, FOLDER / "warmup/pairs.parquet").filter(~pl.any_horizontal("chosen_cut", "rejected_cut"))
    pairs = whole.sort(length, "pair_id").head(PAIRS)
    with tempfile.TemporaryDirectory() as folder:
        start = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32, local_files_only=True)
        theirs, their_gradient = first_step(stock_trainer(folder, training, moved(policy), pairs, tokenizer, ref_model=start))
        rows = token_rows(pairs)
        logps = score_pairs(policy, None, rows, training, pad_token_id(tokenizer), "reference")
        instruction = values["prompting"]["instruction"]
        settings = TrainSettings(
            name="gradient", seed=values["data"]["seed"], epochs=1, instruction=instruction, training=training
        )
        arguments = trainer_config(settings, run, Path(folder))
        dataset = as_dataset(pairs)
        ours, gradient = first_step(Trainer(moved(policy), arguments, logps, train_dataset=dataset, processing_class=tokenizer))
    apart = sum(float((their_gradient[name] - gradient[name]).square().sum()) for name in gradient) ** 0.5
    norm = sum(float(weights.square().sum()) for weights in their_gradient.values()) ** 0.5
    print(f"fp32, one batch: loss {theirs:.6f} and {ours:.6f}, gradients {apart / norm:.1e} of their norm apart")


if __name__ == "__main__":
    main()
