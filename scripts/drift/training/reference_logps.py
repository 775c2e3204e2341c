"""Log-probabilities of pairs in batches, as the trainer computes them."""

from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, patch_environment
from transformers import AutoModelForCausalLM
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head

from drift.progress import Progress
from drift.settings.training import ScoringSettings
from drift.training import launch, remainder
from drift.training.cpu_lm_head import score_replies_only
from drift.training.logps import PairLogps, PairTokens


def base_dtype(training: ScoringSettings) -> torch.dtype:
    """In which precision a policy's weights are held while it is trained or scored.

    fp32 where all weights are trained: steps of a small learning rate are lost to rounding in bf16.
    Below adapters they are frozen: bf16 loses nothing that is trained, as the adapters are merged
    into the fp32 weights.
    """
    return torch.bfloat16 if training.lora and launch.mixed_precision(training.precision) else torch.float32


@torch.no_grad()
def score_pairs(
    folder: Path, remainder_folder: Path | None, rows: list[PairTokens], training: ScoringSettings, pad_token_id: int, what: str
) -> PairLogps:
    """pair_id -> (log pi(chosen | prompt), log pi(rejected | prompt)) in nats, under the policy in
    `folder`; with its remainder as it was trained. Without (None), and below adapters in bf16, as
    it is served.

    As the trainer computes them: the same head, precision and batches of `device_batch` pairs.
    Batches are of similar lengths and do not depend on the number of processes, which share them
    out; each process holds a whole copy of the model. So the log-probabilities of two policies
    differ only by what differs between the policies. `what` names the job in the log.
    """
    process = PartialState()
    mixed = launch.mixed_precision(training.precision)
    # Under FSDP only the first process would get the weights, to be spread later; here each needs
    # them.
    with patch_environment(FSDP_CPU_RAM_EFFICIENT_LOADING="false"):
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=base_dtype(training), local_files_only=True, device_map={"": process.device}
        ).eval()
    if model.dtype == torch.float32:
        remainder.restore(model, remainder_folder)
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    if process.device.type == "cpu":
        score_replies_only(model)
    collate = DataCollatorForPreference(pad_token_id=pad_token_id, max_length=training.max_length)
    ordered = sorted(rows, key=lambda row: (len(row["prompt_ids"]) + len(row["chosen_ids"]), row["pair_id"]), reverse=True)
    size = training.device_batch
    batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    mine = batches[process.process_index :: process.num_processes]
    scored = []
    for batch in Progress(mine, desc=what, unit="batch", disable=not launch.is_main()):
        # 2 pairs x length: the chosen sequences, then the rejected ones, padded on the right.
        inputs = {name: tensor.to(process.device) for name, tensor in collate(batch).items()}
        labels = inputs["input_ids"].masked_fill(inputs.pop("completion_mask") == 0, -100)
        with torch.autocast(process.device.type, dtype=torch.bfloat16, enabled=mixed):
            log_probs = model(**inputs, labels=labels, fused_lm_head=True, use_cache=False).log_probs
        # Positions without a label, the prompt's and padding, are 0 in log_probs.
        sums = log_probs.double().sum(1).tolist()
        scored += [(row["pair_id"], sums[i], sums[len(batch) + i]) for i, row in enumerate(batch)]
    return {pair_id: (chosen, rejected) for pair_id, chosen, rejected in gather_object(scored)}
