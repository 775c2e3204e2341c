"""Score held-out corrections with a policy.

Reads:  a Prompts table whose test rows have both replies (--prompts), and a policy (--policy).
Writes: a Logps table (--logps).

Compared with the base model's, they tell whether the policy has come to prefer what users
preferred.
"""

import _python  # noqa: F401 - before what may be missing
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from drift import cli
from drift.chat import load_tokenizer
from drift.progress import Progress
from drift.tables import Prompts, read_table
from drift.training.logps import load, pair_logps, rendered_rows, write_logps


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--prompts", required=True, help="table to read")
    command.add_argument("--policy", required=True, type=Path, help="folder of the policy")
    command.add_argument("--logps", required=True, help="table to write")
    arguments = command.parse_args()

    disable_progress_bar()
    prompts = read_table(Prompts, arguments.prompts).filter(split="test")
    if prompts.is_empty():
        raise cli.StageError(f"{arguments.prompts} has no test rows; raise data.test_correction_conversations or add data")
    rows = rendered_rows(prompts, load_tokenizer(arguments.policy))
    policy = load(arguments.policy)
    with torch.no_grad():
        logps = {
            row["pair_id"]: tuple(logp.item() for logp in pair_logps(policy, row))
            for row in Progress(rows, desc="held-out pairs")
        }
    write_logps(logps, arguments.logps)


if __name__ == "__main__":
    cli.run(main)
