"""TRL's DPO trainer as it is used here: its arguments and its data. And what all trainers here have
in common: how they resume, and when they stop."""

import importlib.util
import json
import math
import os
import shutil
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import safetensors
import torch
import trl
from datasets import Dataset
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch.nn import Linear
from torch.ops import aten
from torch.utils.checkpoint import create_selective_checkpoint_contexts
from torch.utils.data import Sampler
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback
from trl import DPOConfig, DPOTrainer

from drift import plugins
from drift.chat import end_of_turn, without_end
from drift.cli import StageError
from drift.config.training import accumulation_steps
from drift.progress import Progress
from drift.settings.training import LoraSettings, TrainingRun, TrainSettings
from drift.training import launch, remainder
from drift.training.cpu_lm_head import score_replies_only
from drift.training.deadline import Deadline
from drift.training.logps import PairLogps
from drift.training.order import by_length

# What losses read of Pairs besides both replies.
_COLUMNS = sorted({column for name in plugins.LOSSES for column in plugins.load(plugins.LOSSES, name).COLUMNS})


class Watch(TrainerCallback):
    """Progress in the log, a stop at the first logged value that is not finite, and a checkpoint
    and a stop when time runs out.

    `checkpoint_seconds` is a guess of how long a checkpoint takes, until the first one was
    measured.
    """

    def __init__(self, deadline: Deadline, checkpoint_seconds: float):
        self.deadline, self.checkpoint_seconds, self.step_seconds = deadline, checkpoint_seconds, 0.0
        self.measured = self.stopped = False

    def on_train_begin(self, args, state, control, **_):
        total, done = state.max_steps, state.global_step
        self.bar = Progress(total=total, initial=done, desc="train", unit="step", disable=not launch.is_main())

    def on_step_begin(self, args, state, control, **_):
        self.began = time.monotonic()

    def on_step_end(self, args, state, control, **_):
        self.bar.update()
        self.ended = time.monotonic()
        self.step_seconds = max(self.step_seconds, self.ended - self.began)
        # Time must be left for another step and a checkpoint after it, each half again as slow as
        # the slowest so far.
        late = self.deadline.near(1.5 * (self.step_seconds + self.checkpoint_seconds))
        if state.global_step < state.max_steps and _any_process(late, args.device):
            self.stopped = control.should_save = control.should_training_stop = True

    def on_save(self, args, state, control, **_):
        seconds = time.monotonic() - self.ended
        self.checkpoint_seconds = max(self.checkpoint_seconds, seconds) if self.measured else seconds
        self.measured = True

    def on_log(self, args, state, control, logs, **_):
        for metric, value in logs.items():
            if not math.isfinite(value):
                raise StageError(
                    f"gate 'finite loss' failed: {metric} is {value} at step {state.global_step}; lower learning_rate"
                )
        if "loss" in logs:
            # A step of single replies may have one label alone.
            margin = {"margin": f"{logs['rewards/margins']:.3f}"} if "rewards/margins" in logs else {}
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}", **margin, refresh=False)


class RestoreShards(TrainerCallback):
    """Under ZeRO-3: adds the remainder in `folder` to the fp32 weights that DeepSpeed's optimizer
    has made of a bf16 policy, before the first step. A checkpoint has them already."""

    def __init__(self, folder: Path | None):
        self.folder = folder

    def on_train_begin(self, args, state, control, model, **_):
        if state.global_step:
            return
        from deepspeed.utils import safe_get_full_fp32_param, safe_set_full_fp32_param

        parameters = dict(model.named_parameters())
        for name, part in remainder.read(self.folder):
            full = remainder.add(safe_get_full_fp32_param(parameters[name]), part, f"{self.folder}: {name}")
            safe_set_full_fp32_param(parameters[name], full)


def _any_process(flag: bool, device: torch.device) -> bool:
    """Whether `flag` holds in any process: all have to stop at the same step, or those that go on
    hang."""
    if not torch.distributed.is_initialized():
        return flag
    flags = torch.tensor(float(flag), device=device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
    return bool(flags.item())


@dataclass
class Arguments(DPOConfig):
    """TRL's, and the weights of losses that it does not have (plugins.LOSSES)."""

    own_losses: dict[str, float] = field(default_factory=dict)


class Trainer(DPOTrainer):
    """TRL's DPO trainer on pairs with known reference log-probabilities, in an order that does not
    depend on the number of devices, and with losses of its own besides TRL's.

    Without a GPU it reads each prompt once for both replies and scores the replies only
    (drift.training.cpu_lm_head): the same loss in less time.
    """

    def __init__(self, model, args: Arguments, reference: PairLogps, **options):
        self.reference = reference
        self.own_losses = {plugins.load(plugins.LOSSES, name): weight for name, weight in args.own_losses.items()}
        # TRL would hash every weight to look up log-probabilities that it computed in an earlier
        # run.
        trl.trainer.dpo_trainer.hash_module = lambda module: ""
        super().__init__(model, ref_model=placeholder(), args=args, **options)
        self.ref_model = None
        # TRL's collator leaves out columns that it does not know.
        self.columns = sorted({column for loss in self.own_losses for column in loss.COLUMNS})
        if self.columns:
            collate = self.data_collator
            self.data_collator = lambda rows: (
                collate(rows) | {column: torch.tensor([row[column] for row in rows]) for column in self.columns}
            )

    def _compute_loss(self, model, inputs: dict, return_outputs: bool):
        if not self.own_losses:
            return super()._compute_loss(model, inputs, return_outputs)
        columns = {column: inputs[column] for column in self.columns}
        inputs = {name: tensor for name, tensor in inputs.items() if name not in columns}
        # One forward pass for TRL's losses and for those here.
        passes = []

        def recorded(**asked):
            passes.append(model(**asked))
            return passes[-1]

        loss = super()._compute_loss(recorded, inputs, False)
        chosen, rejected = passes[0].log_probs.sum(1).chunk(2)
        margins = self.beta * ((chosen - inputs["ref_chosen_logps"]) - (rejected - inputs["ref_rejected_logps"]))
        for own, weight in self.own_losses.items():
            loss = loss + weight * own.losses(margins, columns, self.label_smoothing).mean()
        return loss

    def _prepare_dataset(self, dataset: Dataset, processing_class, args: DPOConfig, dataset_name: str) -> Dataset:
        # TRL renders every reply with an end of turn; one that was cut has none.
        rendered = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        end = end_of_turn(processing_class)

        def cut(row: dict) -> dict:
            sides = [side for side in ("chosen", "rejected") if row[f"{side}_cut"]]
            return {f"{side}_ids": without_end(row[f"{side}_ids"], end) for side in sides}

        return rendered.map(cut)

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        # TRL's constructor has set its own head by now, and nothing has used it yet.
        if not torch.cuda.is_available():
            score_replies_only(bare(self.model))
        logps = [self.reference[pair_id] for pair_id in dataset["pair_id"]]
        dataset = dataset.add_column("ref_chosen_logps", [chosen for chosen, _ in logps])
        return dataset.add_column("ref_rejected_logps", [rejected for _, rejected in logps])

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        return by_length(self, train_dataset)


_SMALL = LlamaConfig(
    vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1
)


def bare(model):
    """The model below adapters, where it has any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def placeholder() -> LlamaForCausalLM | None:
    """The reference model that TRL is given until its constructor is through: under FSDP it would
    load a second model where it has none. The trainers here know the reference's
    log-probabilities."""
    return LlamaForCausalLM(_SMALL) if os.environ.get("ACCELERATE_USE_FSDP") == "true" else None


def as_dataset(pairs: pl.DataFrame) -> Dataset:
    """Pairs as the trainer takes them: conversations, which it renders by itself, with their stored
    prompt, which sides are cut, and their length in tokens for grouping."""
    rows = [
        {
            "pair_id": row["pair_id"],
            "prompt": row["prompt"],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
            "prompt_token_ids": row["prompt_token_ids"],
            "chosen_cut": row["chosen_cut"],
            "rejected_cut": row["rejected_cut"],
            **{column: float("nan") if row[column] is None else row[column] for column in _COLUMNS},
            "length": len(row["prompt_token_ids"]) + max(row["chosen_tokens"], row["rejected_tokens"]),
        }
        for row in pairs.iter_rows(named=True)
    ]
    return Dataset.from_list(rows)


def trainer_config(settings: TrainSettings, run: TrainingRun, state: Path) -> Arguments:
    """The trainer's arguments, as `shared_arguments` has them and of the losses."""
    training = settings.training
    own = {name: weight for name, weight in training.losses.items() if name in plugins.LOSSES}
    # TRL wants one of its own, be it for nothing.
    losses = {name: weight for name, weight in training.losses.items() if name not in own} or {"sigmoid": 0.0}
    return Arguments(
        **shared_arguments(settings, run, state),
        loss_type=list(losses),
        loss_weights=list(losses.values()),
        own_losses=own,
        label_smoothing=training.label_smoothing,
    )


def shared_arguments(settings: TrainSettings, run: TrainingRun, state: Path) -> dict[str, Any]:
    """Arguments that all of TRL's trainers have: `settings` shape the policy, `run` (how it trains
    here) does not, and checkpoints go to `state`. Raises StageError where the tracker's package is
    missing, and ValueError where the devices cannot share a step's rows."""
    training = settings.training
    cuda = torch.cuda.is_available()
    steps = accumulation_steps(training.global_batch, training.device_batch, launch.processes(run))
    return {
        "output_dir": str(state),
        "seed": settings.seed,
        "beta": training.beta,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.schedule,
        "warmup_steps": training.schedule_warmup,
        "optim": training.optimizer,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": training.device_batch,
        "gradient_accumulation_steps": steps,
        "max_length": training.max_length,
        "bf16": launch.mixed_precision(training.precision),
        "use_cpu": not cuda,
        "gradient_checkpointing": run.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} | ({} if cuda else {"context_fn": _keep_products}),
        "disable_dropout": not (training.lora and training.lora.dropout),
        "precompute_ref_log_probs": True,
        # Otherwise the column of lengths, which the sampler reads, would be removed.
        "remove_unused_columns": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_steps": run.checkpoint_steps,
        "save_total_limit": 2,  # in case the newest is broken
        "report_to": tracker(run.tracker),
        "run_name": settings.name,
        "project": "drift",
        "ddp_find_unused_parameters": False,
        "disable_tqdm": True,
        # Drops nothing, as the order is made of whole steps. Without it accelerate would take the
        # last batches of an epoch for as many rows as the data set has beyond whole ones, and log
        # the values of some devices alone.
        "dataloader_drop_last": True,
        "dataloader_pin_memory": cuda,
    }


def _keep_products():
    """What gradient checkpointing keeps on a CPU: matrix products and attention, which take most of
    the time. The rest, which takes most of the memory, is recomputed."""
    products = (aten.mm.default, aten.addmm.default, aten._scaled_dot_product_flash_attention_for_cpu.default)
    return create_selective_checkpoint_contexts(list(products))


def tracker(name: str) -> str:
    """`report_to` for `training.tracker`. Raises StageError where its package is missing."""
    if name != "none" and importlib.util.find_spec(name) is None:
        raise StageError(
            f"training.tracker: {name}, but its package is not installed; {sys.executable} -m pip install {name}, or set it to none"
        )
    return name


def lora_config(lora: LoraSettings | None) -> LoraConfig | None:
    """PEFT's configuration of the adapters; None where all weights are trained."""
    if lora is None:
        return None
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )


def check_targets(model, lora: LoraSettings | None) -> None:
    """Raise StageError where adapters of `lora.targets` would not be trained, or would be another
    policy once they are merged."""
    if lora is None or lora.targets == "all-linear":
        return
    config, fault = lora_config(lora), None
    reached = [module for name, module in model.named_modules() if check_target_module_exists(config, name)]
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if not reached:
        linear = sorted({name.split(".")[-1] for name, module in model.named_modules() if isinstance(module, Linear)})
        fault = f"the model has no such modules; its linear layers are named {', '.join(linear)}"
    elif any(module is head for module in reached):
        fault = "one is the head, whose adapters no loss would train; leave it out"
    elif head.weight is embeddings.weight and any(module is embeddings for module in reached):
        fault = "one is the embeddings, which are the head's weights too: merged adapters would change the head; leave it out"
    if fault:
        raise StageError(f"training.lora.targets: {lora.targets}: {fault}")


def last_complete_checkpoint(state: Path) -> str | None:
    """The newest checkpoint that is complete and can be read; newer ones are deleted, and the log
    says so.

    A job that was killed while it wrote leaves a folder without trainer_state.json, which is
    written last; a full disk or a failing one leaves truncated files. With several processes the
    first one looks and deletes, and all take its choice: a folder that is being deleted may look
    sound to another one, or be gone.
    """
    chosen = [_newest_sound(state) if launch.is_main() else None]
    if torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(chosen, src=0)
    return chosen[0]


def _newest_sound(state: Path) -> str | None:
    """The same, in the one process that deletes."""
    for folder in sorted(state.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        fault = checkpoint_fault(folder)
        if fault is None:
            return str(folder)
        print(f"{folder} is skipped: {fault}", file=sys.stderr)
        shutil.rmtree(folder)
    return None


def checkpoint_fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint, if anything. Archives are read completely, as they have
    checksums."""
    if not (folder / "trainer_state.json").is_file():
        return "it is not complete"
    for path in sorted(folder.rglob("*")):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".safetensors":
                with safetensors.safe_open(path, framework="pt"):
                    pass
            elif path.suffix in (".pt", ".pth", ".bin"):
                with zipfile.ZipFile(path) as archive:
                    if broken := archive.testzip():
                        return f"{path.name} is corrupt at {broken}"
        except (ValueError, OSError, zipfile.BadZipFile, safetensors.SafetensorError) as error:
            return f"{path.name} is corrupt ({error})"
    return None
