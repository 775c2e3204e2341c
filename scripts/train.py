"""Train a policy: pairs and a policy in, the next policy out. The warm-up and every iteration come from here.

Reads Pairs, the policy to start from (which is also the reference), and the fitted prompts (for the split's gate); writes the
policy's folder, the trainer's log, the margins of the pairs, gates.json and, last, policy.json. A killed training resumes from
its last complete checkpoint in the state folder.
"""

import hashlib
import json
import math
import shutil
import time
from pathlib import Path

import polars as pl
import torch
import trl
from datasets import Dataset, disable_progress_bars
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
from transformers.utils.logging import disable_progress_bar
from trl import DPOConfig, DPOTrainer

from drift import cli, policies
from drift.chat import load_tokenizer
from drift.gates import Gates
from drift.lmhead import score_replies_only
from drift.locks import hold
from drift.progress import Progress
from drift.tables import Margins, Pairs, Prompts, TrainLog, read_table, write_table

# Below this share of visibly changed bf16 weights a training has done nothing (pure-bf16 weights at a small learning rate
# moved 3.7 % of them and lost the rest to rounding; fp32 master weights move tens of per cent).
MIN_CHANGED = 0.005


class Watch(TrainerCallback):
    """Progress in the log, and a stop at the first figure that is not finite."""

    def on_train_begin(self, args, state, control, **_):
        self.bar = Progress(total=state.max_steps, initial=state.global_step, desc="train", unit="step")

    def on_step_end(self, args, state, control, **_):
        self.bar.update()

    def on_log(self, args, state, control, logs, **_):
        for metric, value in logs.items():
            if not math.isfinite(value):
                raise cli.StageError(
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


def check_rows(gates: Gates, rows: Dataset, pairs: pl.DataFrame, heldout: set[str], tokenizer, settings: dict) -> None:
    """The gates on what the trainer is about to see, on its own token ids."""
    end, start = tokenizer.eos_token_id, tokenizer.bos_token_id
    limit, instruction = settings["training"]["max_length"], settings["instruction"]

    def gate(name: str, broken, cure: str) -> None:
        ids = [row["pair_id"] for row in rows if broken(row)]
        gates.check(
            name,
            not ids,
            f"{len(rows)} pairs" if not ids else f"{len(ids)} of {len(rows)} pairs, the first is {ids[0]}; {cure}",
        )

    lost = pairs.height - len(rows)
    gates.check("no pair lost", lost == 0, f"{lost} of {pairs.height} pairs were left out by the trainer")
    gate(
        "sampling prompt = training prompt",
        lambda row: row["prompt_ids"] != row["prompt_token_ids"],
        "the chat template or the tokenizer changed between sampling and training; rerun the fitting of the prompts",
    )
    gate(
        "one start token",
        lambda row: start is not None and row["prompt_ids"][:2] == [start, start],
        "the template and the tokenizer both add one",
    )
    gate(
        "end of turn",
        lambda row: any(end not in row[side][-2:] for side in ("chosen_ids", "rejected_ids")),
        f"the chat template must close a reply with {tokenizer.eos_token!r}",
    )
    gate(
        "nothing cut",
        lambda row: len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) > limit,
        "raise training.max_length or lower data.max_chars",
    )
    gate("chosen differs from rejected", lambda row: row["chosen_ids"] == row["rejected_ids"], "such a pair teaches nothing")
    gate(
        "no improve instruction in a prompt",
        lambda row: any(instruction in message["content"] for message in row["prompt"]),
        "training must use the plain prompt",
    )
    gate(
        "no held-out conversation",
        lambda row: row["pair_id"].rsplit("/", 1)[0] in heldout,
        "a conversation of the test split is among the training pairs",
    )
    gates.close()


def last_complete_checkpoint(state: Path) -> str | None:
    """The newest checkpoint that was written to its end; incomplete ones are deleted, as resuming from them fails."""
    for folder in sorted(state.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        if (folder / "trainer_state.json").is_file():
            return str(folder)
        shutil.rmtree(folder)
    return None


def round_weights(model, start: Path) -> float:
    """Round the model's weights to bf16, in which policies are kept, and return the share that then differs from `start`."""
    before = AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16, local_files_only=True).state_dict()
    changed = total = 0
    for name, parameter in model.named_parameters():
        rounded = parameter.data.to(torch.bfloat16)
        changed += int((rounded.cpu() != before[name]).sum())
        total += rounded.numel()
        parameter.data.copy_(rounded)
    return changed / total


def margins(trainer: DPOTrainer, beta: float) -> pl.DataFrame:
    """Log-probabilities of every pair before and after the round, and the margin between them.

    s = beta [(log pi(y+|x) - log pi_ref(y+|x)) - (log pi(y-|x) - log pi_ref(y-|x))], the logit of the DPO loss (Rafailov et
    al. 2023, eq. 7); sigma(-s) weighs the pair in its gradient. Computed as the trainer computed its reference: same batches,
    same precision, so that an untrained policy gives exactly 0.
    """
    rows = trainer.train_dataset
    batches = DataLoader(rows, batch_size=trainer.args.per_device_train_batch_size, collate_fn=trainer.data_collator)
    trainer.model.eval()
    logps = []
    for batch in Progress(batches, desc="margins"):
        batch = {name: tensor.to(trainer.accelerator.device) for name, tensor in batch.items()}
        logps.append(torch.stack(trainer.compute_ref_log_probs(trainer.model, batch), dim=1).double().cpu())
    table = pl.DataFrame(
        {
            "pair_id": rows["pair_id"],
            "reference_chosen_logp": rows["ref_chosen_logps"],
            "reference_rejected_logp": rows["ref_rejected_logps"],
        }
    ).with_columns(
        pl.Series("policy_chosen_logp", torch.cat(logps)[:, 0]), pl.Series("policy_rejected_logp", torch.cat(logps)[:, 1])
    )
    chosen = pl.col("policy_chosen_logp") - pl.col("reference_chosen_logp")
    rejected = pl.col("policy_rejected_logp") - pl.col("reference_rejected_logp")
    return table.with_columns(s=beta * (chosen - rejected)).with_columns(sigma_minus_s=1 / (1 + pl.col("s").exp()))


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--pairs", required=True, type=Path)
    command.add_argument("--prompts", required=True, nargs="+", help="fitted prompts with a test split")
    command.add_argument("--start", required=True, type=Path, help="folder of the policy to start from")
    command.add_argument("--start-manifest", required=True, type=Path, help="its policy.json")
    command.add_argument("--run", required=True, type=json.loads, help="JSON object: checkpoint_steps, gradient_checkpointing")
    command.add_argument("--code", default="", help="fingerprint of the code: other code does not resume these checkpoints")
    command.add_argument("--state", required=True, type=Path, help="folder for checkpoints; kept until the policy is done")
    command.add_argument("--policy", required=True, type=Path, help="folder to write")
    command.add_argument("--manifest", required=True, type=Path, help="policy.json to write")
    command.add_argument("--log", required=True, help="table to write")
    command.add_argument("--margins", required=True, help="table to write")
    command.add_argument("--gates", required=True, type=Path, help="gates.json to write")
    arguments = command.parse_args()
    settings, started = arguments.settings, time.monotonic()
    disable_progress_bar()
    disable_progress_bars()

    pairs = read_table(Pairs, arguments.pairs)
    if pairs.is_empty():
        raise cli.StageError(f"{arguments.pairs} has no pairs; the ledger says where they went")
    heldout = {
        prompt_id.rsplit("/", 1)[0]
        for path in arguments.prompts
        for prompt_id in read_table(Prompts, path).filter(split="test")["prompt_id"]
    }
    parent = policies.read_manifest(arguments.start_manifest)
    pairs_sha256 = hashlib.sha256(arguments.pairs.read_bytes()).hexdigest()
    identity = json.dumps([settings, arguments.code, parent["weights_sha256"], pairs_sha256], sort_keys=True)
    state = arguments.state / f"train-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    hold(Path(f"{state}.lock"), f"training {settings['name']}")

    tokenizer = load_tokenizer(arguments.start)
    # fp32 master weights: steps of a small learning rate are lost to rounding in bf16.
    model = AutoModelForCausalLM.from_pretrained(arguments.start, dtype=torch.float32, local_files_only=True)
    gates = Gates()
    trainer = Trainer(
        model,
        args=trainer_config(settings, arguments.run, state),
        train_dataset=as_dataset(pairs),
        processing_class=tokenizer,
        callbacks=[Watch()],
    )
    trainer.remove_callback(PrinterCallback)
    check_rows(gates, trainer.train_dataset, pairs, heldout, tokenizer, settings)
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(state))

    done, planned = trainer.state.global_step, trainer.state.max_steps
    gates.check("finite loss", True, f"{planned} steps")
    gates.check("all steps ran", done == planned, f"{done} of {planned} steps; run again to continue from the last checkpoint")
    changed = round_weights(trainer.model, arguments.start)
    gates.check(
        "weights changed",
        changed > MIN_CHANGED,
        f"{changed:.1%} of the weights; raise learning_rate or use fp32 master weights",
    )
    gates.close()

    write_table(margins(trainer, settings["training"]["beta"]), Margins, arguments.margins)
    history = [
        {"step": entry["step"], "metric": metric, "value": float(value)}
        for entry in trainer.state.log_history
        for metric, value in entry.items()
        if metric != "step"
    ]
    write_table(pl.DataFrame(history).unique(["step", "metric"], keep="last"), TrainLog, arguments.log)
    trainer.model.to(torch.bfloat16).save_pretrained(arguments.policy)
    tokenizer.save_pretrained(arguments.policy)
    gates.write(arguments.gates)
    manifest = {
        "name": settings["name"],
        "weights_sha256": policies.weights_sha256(arguments.policy),
        "parent_sha256": parent["weights_sha256"],
        "pairs_sha256": pairs_sha256,
        "settings": settings,
        "seed": settings["seed"],
        "versions": policies.versions(),
        "steps_done": done,
        "steps_planned": planned,
        "changed_share": changed,
        "tokens": int(
            sum(2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in trainer.train_dataset)
        ),
        "seconds": round(time.monotonic() - started, 1),
    }
    policies.write_manifest(arguments.manifest, manifest)
    shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    cli.run(main)
