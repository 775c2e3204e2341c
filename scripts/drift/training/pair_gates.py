"""The gates on what the trainer is about to see: its own token ids against those that were stored.

A difference between what was sampled, checked and scored and what is trained on is invisible in a
loss curve, so each of them fails the training before its first step.
"""

import math
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from drift.chat import end_of_turn
from drift.tables import Prompts, read_table
from drift.training import launch
from drift.training.gates import Gates
from drift.training.logps import PairTokens

SIDES = ("chosen_ids", "rejected_ids")

# Share of the rows; more that are trained on twice in an epoch are a warning.
MANY_TWICE = 0.1


@dataclass(frozen=True)
class FittedPrompts:
    """What the prompts of a model say about its pairs."""

    heldout: set[str]  # conversations of the test splits
    token_ids: dict[str, list[list[int]]]  # of the training splits, by prompt_id: pools share prompts

    @classmethod
    def read(cls, paths: list[Path]) -> "FittedPrompts":
        """Those of the Prompts tables in `paths`."""
        heldout, token_ids = set(), {}
        for path in paths:
            rows = read_table(Prompts, path).select("prompt_id", "split", "prompt_token_ids")
            for prompt_id, split, ids in rows.iter_rows():
                if split == "test":
                    heldout.add(conversation(prompt_id))
                else:
                    token_ids.setdefault(prompt_id, []).append(ids)
        return cls(heldout, token_ids)


# The end of a turn may be followed by a line break and by the end of the sequence (Phi).
_CLOSING = 3


def prompt_of(pair_id: str) -> str:
    """The prompt_id CONVERSATION_ID/TURN of a pair, or of one of an earlier iteration, whose id
    ends with ~1, ~2, ..."""
    return re.sub(r"~\d+$", "", pair_id)


def conversation(prompt_id: str) -> str:
    """The conversation of CONVERSATION_ID/TURN."""
    return prompt_id.rsplit("/", 1)[0]


class PairGates:
    """Gates on the rows of the trainer's data set: pair_id, prompt, prompt_token_ids, chosen_cut,
    rejected_cut (as stored) and prompt_ids, chosen_ids, rejected_ids (as the trainer has them)."""

    UNIT = "pairs"

    def __init__(self, gates: Gates, trained: Iterable[dict]):
        self.gates, self.rows = gates, list(trained)

    def check_all(self, stored: list[PairTokens], prompts: FittedPrompts, tokenizer, instruction: str, max_length: int) -> None:
        """Check every gate; raise StageError with those that failed. `stored` are the pairs as they
        were checked and as the reference has scored them, `max_length` is in tokens."""
        lost = len(stored) - len(self.rows)
        self.gates.check("no pair lost", lost == 0, f"{lost} of {len(stored)} {self.UNIT} were left out by the trainer")
        self.check_prompts(prompts, tokenizer.bos_token_id, instruction)
        self.check_replies({row["pair_id"]: row for row in stored}, tokenizer, max_length)
        self.check_sides()
        self.gates.close()

    def check_steps(self, batch: int) -> None:
        """Record how many rows are trained on more than once in an epoch, to fill up its last step
        of `batch` rows, and warn where they are many (drift.training.order)."""
        rows = len(self.rows)
        fill = -rows % batch
        if not fill:
            found = f"{rows} {self.UNIT} in steps of {batch}, each once in an epoch"
        elif fill <= rows:
            found = f"{fill} of {rows} {self.UNIT} are trained on twice in an epoch, to fill the last step of {batch}"
        else:
            times = math.ceil(batch / rows)
            found = f"{rows} {self.UNIT} are trained on up to {times} times in an epoch, to fill a step of {batch}"
        self.gates.check("whole steps", True, found)
        if fill > MANY_TWICE * rows and launch.is_main():
            cure = "lower global_batch, or set training.pairs, which the warm-up does not read, to a multiple of it"
            print(f"warning: {found}; {cure}", file=sys.stderr)

    def check_prompts(self, prompts: FittedPrompts, start: int | None, instruction: str) -> None:
        """The gates on prompts; `start` is the tokenizer's start token."""
        self._check(
            "sampling prompt = training prompt",
            lambda row: row["prompt_ids"] != row["prompt_token_ids"],
            "the chat template or the tokenizer changed between sampling and training; rerun the fitting of the prompts",
        )
        self._check(
            "training prompt = fitted prompt",
            lambda row: row["prompt_token_ids"] not in prompts.token_ids.get(prompt_of(row["pair_id"]), []),
            "training must use the plain prompt: the conversation alone, without feedback or instruction; rebuild the pairs",
        )
        self._check(
            "one start token",
            lambda row: start is not None and row["prompt_ids"][:2] == [start, start],
            "the template and the tokenizer both add one",
        )
        self._check(
            "no improve instruction in a prompt",
            lambda row: any(instruction in message["content"] for message in row["prompt"]),
            "training must use the plain prompt",
        )
        self._check(
            "no held-out conversation",
            lambda row: conversation(row["pair_id"]) in prompts.heldout,
            "a conversation of the test split is among the training pairs",
        )

    def check_replies(self, stored: dict[str, PairTokens], tokenizer, max_length: int) -> None:
        """The gates on replies; `stored` by pair_id."""
        end = end_of_turn(tokenizer)
        self._check(
            "scored reply = trained reply",
            lambda row: any(row[side] != stored[row["pair_id"]][side] for side in SIDES),
            "the trainer renders replies to other tokens than the pairs carry, which the reference has scored: the chat "
            "template, the tokenizer or trl changed since; use the trl of the lock and rebuild the pairs",
        )
        self._check(
            "end of turn",
            lambda row: any((end in row[f"{side}_ids"][-_CLOSING:]) == row[f"{side}_cut"] for side in ("chosen", "rejected")),
            f"the chat template must close a reply with {tokenizer.convert_ids_to_tokens(end)!r}, and one that was cut must stay open",
        )
        self._check(
            "nothing cut",
            lambda row: len(row["prompt_ids"]) + max(len(row[side]) for side in SIDES) > max_length,
            "raise training.max_length or lower data.filters.max_chars",
        )

    def check_sides(self) -> None:
        """The gate on both replies of a pair."""
        self._check(
            "chosen differs from rejected",
            lambda row: row["chosen_ids"] == row["rejected_ids"],
            "such a pair teaches nothing",
        )

    def _check(self, gate: str, broken: Callable[[dict], bool], cure: str) -> None:
        """Record `gate`: failed where a row is `broken`, with the count, the first one and the
        `cure`."""
        ids = [row["pair_id"] for row in self.rows if broken(row)]
        found = f"{len(ids)} of {len(self.rows)} {self.UNIT}, the first is {ids[0]}" if ids else f"{len(self.rows)} {self.UNIT}"
        self.gates.check(gate, not ids, found, cure)
