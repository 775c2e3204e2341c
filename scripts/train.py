"""Train a policy: pairs, or single replies, and a policy in, the next policy out. The warm-up and
every iteration use it.

Reads:  Pairs, or for a loss of single replies Unpaired (--rows), and the pairs of earlier
        iterations that are trained on again (--replay); the policy to start from and the one that
        is the reference, each a folder, its policy.json and, unless it is a base model, the folder
        of its remainder (--start, --reference); the fitted prompts, for the gates (--prompts).
Writes: the policy's folder (--policy) and its remainder (--remainder), the trainer's log (--log),
        the reference's log-probabilities of pairs (--reference-logps), gates.json (--gates) and,
        last, policy.json (--manifest).

The policy is in bf16, as it is served. The remainder is what the fp32 weights are besides: the next
training starts from both, so that steps too small for bf16 add up (drift.training.remainder).

A training run that was killed, or that stopped itself because its job's time was nearly over,
resumes from its last complete checkpoint in the state folder (--state).
"""

import _python  # noqa: F401 - before what may be missing
import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import polars as pl
import torch
from datasets import disable_progress_bars
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PrinterCallback, Trainer
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.utils.logging import disable_progress_bar

from drift import cli, plugins, policies
from drift.chat import load_tokenizer
from drift.config.training import Carry, accumulation_steps
from drift.files import sha256
from drift.locks import hold
from drift.settings.training import ScoringSettings, TrainingRun, TrainSettings
from drift.tables import TrainLog, write_table
from drift.training import launch, remainder
from drift.training.behaviour_gate import check_start
from drift.training.deadline import Deadline
from drift.training.gates import Gates
from drift.training.logps import PairLogps, PairTokens, read_logps, write_logps
from drift.training.pair_gates import FittedPrompts
from drift.training.reference_logps import base_dtype, score_pairs
from drift.training.trainer import RestoreShards, Watch, check_targets, last_complete_checkpoint, lora_config
from drift.training.weights import Movement, gathered_weights, make_savable, trained_policy

# Below this share of changed weights a training run has done nothing, or the next one would not
# start from what it did: fp32 weights change nearly all.
MIN_CHANGED = 0.005

# Nats. The first step is logged as it is before any update: where the policy starts from its
# reference, the margin of its pairs is the rounding of activations, on average far below one.
MAX_DISTANCE = 1.0


@dataclass(frozen=True)
class Task:
    """What shapes the policy, how it trains here, the folders of the policy that it starts from and
    of its remainder, and the folder of its checkpoints."""

    settings: TrainSettings
    run: TrainingRun
    start: Path
    start_remainder: Path | None
    state: Path


@dataclass(frozen=True)
class Ancestry:
    """What a policy is trained from, by content: SHA-256 of weights, of remainders (None: there is
    none) and of tables of pairs."""

    parent_sha256: str
    parent_remainder_sha256: str | None
    reference_sha256: str
    reference_remainder_sha256: str | None
    pairs_sha256: str
    replay_sha256: list[str]

    @classmethod
    def read(cls, start: Path, reference: Path, pairs: Path, replay: list[Path]) -> "Ancestry":
        """By the policy.json of both policies, and the files of pairs."""
        own, *replayed = [sha256(path) for path in (pairs, *replay)]
        manifests = [policies.read_manifest(path) for path in (start, reference)]
        parents = [manifest.get(name) for manifest in manifests for name in ("weights_sha256", "remainder_sha256")]
        return cls(*parents, own, replayed)

    def key(self, settings: TrainSettings, code: str) -> str:
        """What tells this training from others: only the same one resumes its checkpoints."""
        identity = [settings.model_dump(mode="json"), code, *vars(self).values()]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def starts_from_reference(self) -> bool:
        """Whether the policy to start from is the reference."""
        start = (self.parent_sha256, self.parent_remainder_sha256)
        return start == (self.reference_sha256, self.reference_remainder_sha256)


def reference_logps(
    reference: tuple[Path, Path | None], rows: list[PairTokens], training: ScoringSettings, pad: int, kept: Path
) -> PairLogps:
    """The log-probabilities of `rows` under the reference, the folders of a policy and its
    remainder, as `score_pairs` returns them; kept in the file `kept` for a training run that
    resumes. `pad` is a token id."""
    if kept.is_file():
        return read_logps(kept)
    logps = score_pairs(*reference, rows, training, pad, "reference")
    if launch.is_main():
        write_logps(logps, kept)
    return logps


def train_from(trainer: Trainer, checkpoint: str | None) -> None:
    """Train, from a checkpoint on if there is one."""
    if checkpoint:
        history = json.loads((Path(checkpoint) / "trainer_state.json").read_text())["log_history"]
        # TRL counts tokens from 0 in every job.
        trainer._total_train_tokens = int(max(entry.get("num_tokens", 0) for entry in history))
    trainer.train(resume_from_checkpoint=checkpoint)


def log_table(history: list[dict]) -> pl.DataFrame:
    """TrainLog of the trainer's log history. Its mean loss is that of all steps: the trainer's own
    is of those of the last job, which may have none."""
    losses = [entry["loss"] for entry in history if "loss" in entry]
    history = [entry | {"train_loss": sum(losses) / len(losses)} if "train_loss" in entry else entry for entry in history]
    rows = [
        {"step": entry["step"], "metric": metric, "value": float(value)}
        for entry in history
        for metric, value in entry.items()
        if metric != "step"
    ]
    return pl.DataFrame(rows).unique(["step", "metric"], keep="last")


def without_dropout(folder: Path) -> PretrainedConfig:
    """The configuration of the model in `folder` with every rate of dropout 0: the reference is
    scored without. TRL turns off modules of dropout alone, and most attentions have a rate of their
    own instead, which some models come with above 0."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    for part in (config, config.get_text_config()):
        for name, rate in list(vars(part).items()):
            if rate and name.endswith(("dropout", "pdrop")):
                setattr(part, name, 0.0)
    return config


def make_trainer(
    kind: ModuleType, task: Task, deadline: Deadline, tokenizer, rows: pl.DataFrame, logps: PairLogps
) -> tuple[Trainer, Watch]:
    """The trainer of that `kind` (drift.training) of `rows` with their reference log-probabilities,
    and what watches it."""
    training = task.settings.training
    # The trainer's arguments come before the model: they decide how it is loaded where it will be
    # sharded.
    config = kind.arguments(task.settings, task.run, task.state, rows)
    loading = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(
        task.start, config=without_dropout(task.start), dtype=base_dtype(training), local_files_only=True
    )
    check_targets(model, training.lora)
    make_savable(model)
    sharded_already = is_deepspeed_zero3_enabled()
    if model.dtype == torch.float32 and not sharded_already:
        remainder.restore(model, task.start_remainder)
    # A checkpoint holds master weights and the optimizer's state: up to six times the bytes just
    # read.
    watch = Watch(deadline, checkpoint_seconds=6 * (time.monotonic() - loading))
    trainer = kind.Trainer(
        model,
        config,
        logps,
        train_dataset=kind.as_dataset(rows, task.settings),
        processing_class=tokenizer,
        callbacks=[watch],
        peft_config=lora_config(training.lora),
    )
    trainer.remove_callback(PrinterCallback)
    if sharded_already:
        trainer.add_callback(RestoreShards(task.start_remainder))
    return trainer, watch


def check_finished(
    gates: Gates, trainer: Trainer, watch: Watch, ancestry: Ancestry, beta: float, rewards: Iterable[str]
) -> None:
    """Raise StageError where the training stopped early, or where its log shows a fault. `rewards`
    are metrics that are 0 where a policy is its reference."""
    done, planned = trainer.state.global_step, trainer.state.max_steps
    if watch.stopped:
        raise cli.StageError(
            f"stopped after {done} of {planned} steps, as {watch.deadline.reason}; a checkpoint is in {trainer.args.output_dir}. "
            "Run again to continue from it (the slurm profile's `retries` do); a larger runtime for `train` needs fewer runs"
        )
    gates.check("finite loss", True, f"{planned} steps")
    if first := next((entry for entry in trainer.state.log_history if entry.keys() & set(rewards)), None):
        distance = max(abs(first[reward]) for reward in rewards if reward in first) / beta
        gates.check(
            "the reference is the start",
            not ancestry.starts_from_reference or distance < MAX_DISTANCE,
            f"the first step's replies are {distance:.2g} nats from their reference",
            "it was scored with other weights than the start's; delete the state folder and run again",
        )
    gates.check(
        "all steps ran", done == planned, f"{done} of {planned} steps", "run again to continue from the last checkpoint"
    )
    gates.close()


def check_movement(gates: Gates, movement: Movement, carry: Carry, min_carried: float, steps: int) -> None:
    """Raise StageError where the next training would start from next to nothing of this one.

    `carry`: whether it starts from the fp32 weights or from what bf16 shows of them; `min_carried`
    is the least share of the update, 0 to 1.
    """
    in_full = carry == "fp32"
    changed = (movement.moved if in_full else movement.seen) / movement.trained
    gates.check(
        "weights changed",
        changed > MIN_CHANGED,
        f"{changed:.1%} of the weights in {steps} steps",
        "the first steps are slow (schedule_warmup); raise learning_rate, or train on more pairs"
        + ("" if in_full else ", or set training.carry: fp32"),
    )
    share = movement.served_share
    gates.check(
        "update carried",
        in_full or share >= min_carried,
        "all of the update is in what the next iteration starts from"
        if in_full
        else f"{share:.1%} of the update is in what the next iteration starts from (training.min_carried: {min_carried:g})",
        "rounding to bf16 takes the rest. Set training.carry: fp32, or raise learning_rate",
    )
    gates.close()


def parsed() -> argparse.Namespace:
    """The command line."""
    command = cli.parser(__doc__, TrainSettings)
    cli.add_settings(command, "--run", TrainingRun, "JSON object of what changes no result")
    command.add_argument("--rows", required=True, type=Path, help="table to read: Pairs, or Unpaired")
    command.add_argument("--replay", nargs="*", default=[], type=Path, help="pairs of earlier iterations, the nearest first")
    command.add_argument("--prompts", required=True, nargs="+", type=Path, help="fitted prompts with a test split")
    command.add_argument("--start", required=True, type=Path, help="folder of the policy to start from")
    command.add_argument("--start-manifest", required=True, type=Path, help="its policy.json")
    command.add_argument("--start-remainder", nargs="?", type=Path, help="folder of its remainder; none of a base model")
    command.add_argument("--behaviour", nargs="?", type=Path, help="its Behaviour table; none of a base model")
    command.add_argument("--reference", required=True, type=Path, help="folder of the reference policy")
    command.add_argument("--reference-manifest", required=True, type=Path, help="its policy.json")
    command.add_argument("--reference-remainder", nargs="?", type=Path, help="folder of its remainder; none of a base model")
    command.add_argument("--code", default="", help="fingerprint of the code: other code does not resume these checkpoints")
    command.add_argument("--state", required=True, type=Path, help="folder for checkpoints; kept until the policy is done")
    command.add_argument("--policy", required=True, type=Path, help="folder to write")
    command.add_argument("--remainder", required=True, type=Path, help="folder to write; empty where training.carry is bf16")
    command.add_argument("--manifest", required=True, type=Path, help="policy.json to write")
    command.add_argument("--log", required=True, help="table to write")
    command.add_argument("--reference-logps", required=True, help="table to write")
    command.add_argument("--gates", required=True, type=Path, help="gates.json to write")
    return command.parse_args()


def devices(run: TrainingRun, settings: TrainSettings) -> int:
    """How many processes train. Raises StageError where they cannot share a step's pairs."""
    count = launch.processes(run)
    try:
        accumulation_steps(settings.training.global_batch, settings.training.device_batch, count)
    except ValueError as error:
        raise cli.StageError(f"training.{error}") from None
    return count


def manifest(settings: TrainSettings, policy: Path, remainder_folder: Path, ancestry: Ancestry) -> dict:
    """What policy.json says of a policy and its remainder, by their folders, less what was measured
    in its training."""
    in_full = settings.training.carry == "fp32"
    return {
        "name": settings.name,
        "weights_sha256": policies.weights_sha256(policy),
        "remainder_sha256": policies.weights_sha256(remainder_folder) if in_full else None,
        **vars(ancestry),
        "settings": settings.model_dump(mode="json"),
        "seed": settings.seed,
        "versions": policies.versions(),
    }


def main() -> None:
    started, arguments = time.monotonic(), parsed()
    settings: TrainSettings = arguments.settings
    run: TrainingRun = arguments.run
    deadline = Deadline(run.deadline)
    disable_progress_bar()
    disable_progress_bars()

    gates = Gates()
    check_start(gates, arguments.start_manifest, arguments.behaviour)
    count = devices(run, settings)
    kind = plugins.load(plugins.TRAINERS, plugins.trainer_of(settings.training.losses))
    rows = kind.read_rows(arguments.rows, arguments.replay)
    prompts = FittedPrompts.read(arguments.prompts)
    ancestry = Ancestry.read(arguments.start_manifest, arguments.reference_manifest, arguments.rows, arguments.replay)
    state = arguments.state / f"train-{ancestry.key(settings, arguments.code)}"
    if run.launcher != "single" and not launch.in_worker():
        launch.relaunch(run.launcher, count, settings.training.precision, state / "accelerate.yaml")
    if launch.is_main():
        hold(state / "lock", f"training {settings.name}")

    tokenizer, tokens = load_tokenizer(arguments.start), kind.token_rows(rows, settings)
    reference = (arguments.reference, arguments.reference_remainder)
    logps = {}
    if kind.REWARDS:
        logps = reference_logps(reference, tokens, settings.training, tokenizer.pad_token_id, state / "reference.parquet")
    rows, tokens = kind.selected(gates, rows, tokens, logps, settings)
    task = Task(settings, run, arguments.start, arguments.start_remainder, state)
    trainer, watch = make_trainer(kind, task, deadline, tokenizer, rows, logps)
    checks = kind.gates(gates, trainer.train_dataset)
    checks.check_steps(settings.training.global_batch)
    checks.check_all(tokens, prompts, tokenizer, settings.instruction, settings.training.max_length)
    train_from(trainer, last_complete_checkpoint(state))

    check_finished(gates, trainer, watch, ancestry, settings.training.beta, kind.REWARDS)
    weights = gathered_weights(trainer, settings.training.lora)
    if not launch.is_main():
        return
    trained = trained_policy(weights, arguments.start, arguments.start_remainder, settings.training.lora)
    movement = trained.movement
    check_movement(gates, movement, settings.training.carry, run.min_carried, trainer.state.global_step)

    write_logps(kind.own_logps(logps), arguments.reference_logps)
    write_table(log_table(trainer.state.log_history), TrainLog, arguments.log)
    policies.save(trained.model, arguments.policy)
    tokenizer.save_pretrained(arguments.policy)
    remainder.write(trained.remainders if settings.training.carry == "fp32" else {}, arguments.remainder)
    gates.write(arguments.gates)
    measured = {
        "steps_done": trainer.state.global_step,
        "steps_planned": trainer.state.max_steps,
        "changed_share": movement.seen / movement.trained,
        "update_norm": movement.norm,
        "served_share": movement.served_share,
        "tokens": sum(2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in tokens),
        "seconds": round(time.monotonic() - started, 1),
        **policies.origin(count),
    }
    policies.write_manifest(arguments.manifest, manifest(settings, arguments.policy, arguments.remainder, ancestry) | measured)
    shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    cli.run(main)
