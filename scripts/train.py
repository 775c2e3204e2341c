"""Train a policy: pairs and a policy in, the next policy out. The warm-up and every iteration come from here.

Reads Pairs (and those of earlier iterations, where they are trained on again), the policy to start from, the policy that is the
reference, and the fitted prompts (for the gates); writes the policy's folder, the trainer's log, the reference's
log-probabilities, gates.json and, last, policy.json. A training that was killed, or that stopped itself because its job's time
was nearly over, resumes from its last complete checkpoint in the state folder.
"""

import hashlib
import json
import re
import shutil
import time
from pathlib import Path

import polars as pl
import torch
from datasets import Dataset, disable_progress_bars
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, PrinterCallback
from transformers.utils.logging import disable_progress_bar

from drift import cli, policies
from drift.chat import load_tokenizer
from drift.locks import hold
from drift.tables import Logps, Pairs, Prompts, TrainLog, read_table, write_table
from drift.training import launch
from drift.training.deadline import Deadline
from drift.training.gates import Gates
from drift.training.logps import token_rows
from drift.training.reference_logps import base_dtype, score_pairs
from drift.training.trainer import Trainer, Watch, as_dataset, last_complete_checkpoint, lora_config, trainer_config

# Below this share of visibly changed bf16 weights a training has done nothing (pure-bf16 weights at a small learning rate
# moved 3.7 % of them and lost the rest to rounding; fp32 master weights move tens of per cent).
MIN_CHANGED = 0.005

# Nats. The first step is logged as it is before any update: where the policy starts from its reference, what its pairs have
# gained on it is the rounding of activations, on average far below one.
MAX_DISTANCE = 1.0


def read_pairs(own: Path, replayed: list[Path]) -> pl.DataFrame:
    """The pairs of this iteration and those of earlier iterations, nearest first, whose ids get ~1, ~2, ... to stay unique."""
    tables = []
    for back, path in enumerate([own, *replayed]):
        pairs = read_table(Pairs, path)
        if pairs.is_empty():
            raise cli.StageError(f"{path} has no pairs; the ledger says where they went")
        tables.append(pairs.with_columns(pair_id=pl.col("pair_id") + (f"~{back}" if back else "")))
    return pl.concat(tables)


def fitted_prompts(paths: list[Path]) -> tuple[set[str], dict[str, list[list[int]]]]:
    """Conversations of the test splits; and the token ids of every prompt, by prompt_id (pools share prompts)."""
    heldout, fitted = set(), {}
    for path in paths:
        for row in read_table(Prompts, path).select("prompt_id", "split", "prompt_token_ids").iter_rows(named=True):
            if row["split"] == "test":
                heldout.add(conversation(row["prompt_id"]))
            else:
                fitted.setdefault(row["prompt_id"], []).append(row["prompt_token_ids"])
    return heldout, fitted


def prompt_of(pair_id: str) -> str:
    """The prompt_id CONVERSATION_ID/TURN of a pair, be it of this iteration or of one before (CONVERSATION_ID/TURN~1)."""
    return re.sub(r"~\d+$", "", pair_id)


def conversation(prompt_id: str) -> str:
    """The conversation of CONVERSATION_ID/TURN."""
    return prompt_id.rsplit("/", 1)[0]


def check_rows(
    gates: Gates, trained: Dataset, scored: list[dict], heldout: set[str], fitted: dict, tokenizer, settings: dict
) -> None:
    """The gates on what the trainer is about to see, on its own token ids.

    `scored` are the pairs as the reference has scored them; `heldout` and `fitted` as `fitted_prompts` gives them.
    """
    end, start = tokenizer.eos_token_id, tokenizer.bos_token_id
    limit, instruction = settings["training"]["max_length"], settings["instruction"]
    rows, reference = list(trained), {row["pair_id"]: row for row in scored}

    def gate(name: str, broken, cure: str) -> None:
        ids = [row["pair_id"] for row in rows if broken(row)]
        gates.check(
            name,
            not ids,
            f"{len(rows)} pairs" if not ids else f"{len(ids)} of {len(rows)} pairs, the first is {ids[0]}; {cure}",
        )

    lost = len(scored) - len(rows)
    gates.check("no pair lost", lost == 0, f"{lost} of {len(scored)} pairs were left out by the trainer")
    gate(
        "sampling prompt = training prompt",
        lambda row: row["prompt_ids"] != row["prompt_token_ids"],
        "the chat template or the tokenizer changed between sampling and training; rerun the fitting of the prompts",
    )
    gate(
        "training prompt = fitted prompt",
        lambda row: row["prompt_token_ids"] not in fitted.get(prompt_of(row["pair_id"]), []),
        "training must use the plain prompt: the conversation alone, without feedback or instruction; rebuild the pairs",
    )
    gate(
        "scored reply = trained reply",
        lambda row: any(row[side] != reference[row["pair_id"]][side] for side in ("chosen_ids", "rejected_ids")),
        "the trainer renders replies in another way than the reference was asked about; is this the version of trl in the lock?",
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
        "raise training.max_length or lower data.filters.max_chars",
    )
    gate("chosen differs from rejected", lambda row: row["chosen_ids"] == row["rejected_ids"], "such a pair teaches nothing")
    gate(
        "no improve instruction in a prompt",
        lambda row: any(instruction in message["content"] for message in row["prompt"]),
        "training must use the plain prompt",
    )
    gate(
        "no held-out conversation",
        lambda row: conversation(row["pair_id"]) in heldout,
        "a conversation of the test split is among the training pairs",
    )
    gates.close()


def reference_logps(folder: Path, rows: list[dict], training: dict, pad_token_id: int, kept: Path) -> dict:
    """The reference's log-probabilities of `rows`, as `score_pairs` gives them; kept in `kept` for a training that resumes."""
    if kept.is_file():
        table = read_table(Logps, kept)
        return {pair_id: (chosen, rejected) for pair_id, chosen, rejected in table.iter_rows()}
    logps = score_pairs(folder, rows, training, pad_token_id, "reference")
    if launch.is_main():
        write_table(logps_table(logps), Logps, kept)
    return logps


def logps_table(logps: dict[str, tuple[float, float]]) -> pl.DataFrame:
    """Logps of pair_id -> (chosen, rejected)."""
    rows = [(pair_id, chosen, rejected) for pair_id, (chosen, rejected) in logps.items()]
    return pl.DataFrame(rows, schema=Logps.create_empty().schema, orient="row")


def trained_model(trainer: Trainer, start: Path, settings: dict):
    """The model of `start` with the trained weights in fp32 on the CPU, adapters merged, and the names of those weights.

    Weights that are spread over devices are gathered, so every process must call it; all but the main one get (None, []).
    """
    config = lora_config(settings["training"])
    if config:
        weights = get_peft_model_state_dict(trainer.accelerator.unwrap_model(trainer.model))
    else:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not launch.is_main():
        return None, []
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32, local_files_only=True)
    names = [name for name, _ in model.named_parameters()]
    if config:
        adapted = get_peft_model(model, config)
        set_peft_model_state_dict(adapted, {name: tensor.float().cpu() for name, tensor in weights.items()})
        names = [name.replace(".base_layer", "") for name, _ in model.named_parameters() if name.endswith("base_layer.weight")]
        return adapted.merge_and_unload(), names
    model.load_state_dict(weights, strict=not model.config.get_text_config().tie_word_embeddings)
    return model, names


def round_weights(model, start: Path, names: list[str]) -> float:
    """Round the model's weights to bf16, in which policies are kept; the share of those in `names` that then differ from `start`."""
    before = AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16, local_files_only=True).state_dict()
    changed = total = 0
    for name, parameter in model.named_parameters():
        rounded = parameter.data.to(torch.bfloat16)
        parameter.data.copy_(rounded)
        if name in names:
            changed += int((rounded.cpu() != before[name]).sum())
            total += rounded.numel()
    return changed / total


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--pairs", required=True, type=Path)
    command.add_argument("--replay", nargs="*", default=[], type=Path, help="pairs of earlier iterations, the nearest first")
    command.add_argument("--prompts", required=True, nargs="+", help="fitted prompts with a test split")
    command.add_argument("--start", required=True, type=Path, help="folder of the policy to start from")
    command.add_argument("--start-manifest", required=True, type=Path, help="its policy.json")
    command.add_argument("--reference", type=Path, help="folder of the reference policy; the start if not given")
    command.add_argument("--reference-manifest", type=Path, help="its policy.json")
    command.add_argument(
        "--run",
        required=True,
        type=json.loads,
        help="JSON object of what changes no result: checkpoint_steps, gradient_checkpointing, launcher, processes (null: as many as "
        "GPUs), tracker, deadline (minutes; null: none)",
    )
    command.add_argument("--code", default="", help="fingerprint of the code: other code does not resume these checkpoints")
    command.add_argument("--state", required=True, type=Path, help="folder for checkpoints; kept until the policy is done")
    command.add_argument("--policy", required=True, type=Path, help="folder to write")
    command.add_argument("--manifest", required=True, type=Path, help="policy.json to write")
    command.add_argument("--log", required=True, help="table to write")
    command.add_argument("--reference-logps", required=True, help="table to write")
    command.add_argument("--gates", required=True, type=Path, help="gates.json to write")
    arguments = command.parse_args()
    settings, run, training = arguments.settings, arguments.run, arguments.settings["training"]
    started, deadline = time.monotonic(), Deadline(run["deadline"])
    disable_progress_bar()
    disable_progress_bars()

    count = launch.processes(run)
    launch.accumulation(training, count)
    pairs = read_pairs(arguments.pairs, arguments.replay)
    heldout, fitted = fitted_prompts(arguments.prompts)
    parent = policies.read_manifest(arguments.start_manifest)
    reference = policies.read_manifest(arguments.reference_manifest or arguments.start_manifest)
    pairs_sha256, *replay_sha256 = [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in (arguments.pairs, *arguments.replay)
    ]
    identity = [settings, arguments.code, parent["weights_sha256"], reference["weights_sha256"], pairs_sha256, replay_sha256]
    state = arguments.state / f"train-{hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]}"
    if run["launcher"] != "single" and not launch.in_worker():
        launch.relaunch(run["launcher"], count, training["precision"], state / "accelerate.yaml")
    if launch.is_main():
        hold(state / "lock", f"training {settings['name']}")

    tokenizer = load_tokenizer(arguments.start)
    rows = token_rows(pairs.iter_rows(named=True), tokenizer)
    pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    logps = reference_logps(arguments.reference or arguments.start, rows, training, pad_token_id, state / "reference.parquet")
    # The arguments come before the model: they tell how it is to be loaded where it will be sharded.
    trainer_arguments = trainer_config(settings, run, state)
    loading = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(arguments.start, dtype=base_dtype(training), local_files_only=True)
    # A checkpoint holds master weights and the optimizer's state: up to six times the bytes that were just read.
    watch = Watch(deadline, checkpoint_seconds=6 * (time.monotonic() - loading))
    gates = Gates()
    trainer = Trainer(
        model,
        trainer_arguments,
        logps,
        train_dataset=as_dataset(pairs),
        processing_class=tokenizer,
        callbacks=[watch],
        peft_config=lora_config(training),
    )
    trainer.remove_callback(PrinterCallback)
    check_rows(gates, trainer.train_dataset, rows, heldout, fitted, tokenizer, settings)
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(state))

    done, planned = trainer.state.global_step, trainer.state.max_steps
    if watch.stopped:
        raise cli.StageError(
            f"stopped after {done} of {planned} steps, as {deadline.reason}; a checkpoint is in {state}. Run again to continue from it "
            "(the slurm profile's `retries` do); a larger runtime for `train` needs fewer runs"
        )
    gates.check("finite loss", True, f"{planned} steps")
    first = next(entry["rewards/margins"] for entry in trainer.state.log_history if "rewards/margins" in entry)
    distance = abs(first) / training["beta"]
    gates.check(
        "the reference is the start",
        reference != parent or distance < MAX_DISTANCE,
        f"the first step's pairs are {distance:.2g} nats from their reference; the reference's figures are those of other weights",
    )
    gates.check("all steps ran", done == planned, f"{done} of {planned} steps; run again to continue from the last checkpoint")
    gates.close()
    model, names = trained_model(trainer, arguments.start, settings)
    if not launch.is_main():
        return
    changed = round_weights(model, arguments.start, names)
    gates.check(
        "weights changed",
        changed > MIN_CHANGED,
        f"{changed:.1%} of the weights in {trainer.state.global_step} steps, the first of which are slow (schedule_warmup); raise "
        "learning_rate, train on more pairs, or use fp32 master weights",
    )
    gates.close()

    own = {pair_id: sides for pair_id, sides in logps.items() if prompt_of(pair_id) == pair_id}
    write_table(logps_table(own), Logps, arguments.reference_logps)
    history = [
        {"step": entry["step"], "metric": metric, "value": float(value)}
        for entry in trainer.state.log_history
        for metric, value in entry.items()
        if metric != "step"
    ]
    write_table(pl.DataFrame(history).unique(["step", "metric"], keep="last"), TrainLog, arguments.log)
    model.to(torch.bfloat16).save_pretrained(arguments.policy)
    tokenizer.save_pretrained(arguments.policy)
    gates.write(arguments.gates)
    manifest = {
        "name": settings["name"],
        "weights_sha256": policies.weights_sha256(arguments.policy),
        "parent_sha256": parent["weights_sha256"],
        "reference_sha256": reference["weights_sha256"],
        "pairs_sha256": pairs_sha256,
        "replay_sha256": replay_sha256,
        "settings": settings,
        "seed": settings["seed"],
        "versions": policies.versions(),
        "steps_done": done,
        "steps_planned": planned,
        "changed_share": changed,
        "tokens": sum(2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows),
        "seconds": round(time.monotonic() - started, 1),
    }
    policies.write_manifest(arguments.manifest, manifest)
    shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    cli.run(main)
