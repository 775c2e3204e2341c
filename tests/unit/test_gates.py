"""What stands between a run and a policy that learnt nothing, or the wrong thing."""

import contextlib
import json
import math
import os
import re
import subprocess
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from datasets import Dataset

from drift import tables
from drift.cli import StageError
from drift.training import trainer
from drift.training.gates import Gates
from drift.training.logps import PairTokens, token_rows
from drift.training.pair_gates import FittedPrompts, PairGates
from tests.builders.pairs import pair_row, pairs_table, small_pairs
from tests.conftest import REPOSITORY

START, END = 1, 2
TOKENIZER = SimpleNamespace(
    bos_token_id=START,
    eos_token_id=END,
    all_special_ids=[START, END],
    added_tokens_decoder={},
    apply_chat_template=lambda messages, return_dict: [START, len(messages[-1]["content"]), END, 10],
    convert_ids_to_tokens=str,
)
INSTRUCTION, MAX_LENGTH = "Please improve your answer.", 12


def rows(**fault) -> list[dict]:
    """Two sound rows as the trainer has them; `fault` changes the second."""
    sound = {
        "prompt": [{"role": "user", "content": "Hello?"}],
        "prompt_ids": [START, 5, 6],
        "prompt_token_ids": [START, 5, 6],
        "chosen_ids": [7, 8, END, 10],  # a line break may follow the end of turn, and another token
        "rejected_ids": [9, END],
        "chosen_cut": False,
        "rejected_cut": False,
    }
    return [{"pair_id": "s:1/0"} | sound, {"pair_id": "s:2/0"} | sound | fault]


# The prompts as they were fitted; those of the faults below too, but for the one that is about it.
TOKEN_IDS = {prompt_id: [[START, 5, 6], [START, 5, 5], [START, START, 5]] for prompt_id in ("s:1/0", "s:2/0", "s:9/4")}


def stored(trained: list[dict], pairs: int = 2) -> list[PairTokens]:
    """The same rows as they were checked and scored, and others that the trainer never saw."""
    others = [{"pair_id": f"lost:{number}/0"} for number in range(len(trained), pairs)]
    return [{key: row[key] for key in ("pair_id", "chosen_ids", "rejected_ids")} for row in trained] + others


def check(gates: Gates, trained: list[dict], pairs: list[PairTokens], tokenizer=TOKENIZER) -> None:
    """All gates on these rows; conversation s:9 is held out."""
    fitted = FittedPrompts(heldout={"s:9"}, token_ids=TOKEN_IDS)
    PairGates(gates, Dataset.from_list(trained)).check_all(pairs, fitted, tokenizer, INSTRUCTION, MAX_LENGTH)


def failed(trained: list[dict], pairs: int = 2, tokenizer=TOKENIZER) -> list[str]:
    """Names of the gates that fail on these rows."""
    gates = Gates()
    with contextlib.suppress(StageError):
        check(gates, trained, stored(trained, pairs), tokenizer)
        assert all(result["passed"] for result in gates.results), "a failed gate did not stop the stage"
    assert len(gates.results) == 10
    return [result["gate"] for result in gates.results if not result["passed"]]


def test_sound_rows_pass_every_gate():
    assert failed(rows()) == []


FAULTS = {
    "sampling prompt = training prompt": {"prompt_token_ids": [START, 5, 5]},
    "one start token": {"prompt_ids": [START, START, 5], "prompt_token_ids": [START, START, 5]},
    "training prompt = fitted prompt": {"prompt_ids": [START, 5, 6, 8], "prompt_token_ids": [START, 5, 6, 8]},
    "end of turn": {"chosen_ids": [7, 8, 10]},
    "nothing cut": {"rejected_ids": [9] * 9 + [END]},
    "chosen differs from rejected": {"chosen_ids": [9, END]},
    "no improve instruction in a prompt": {"prompt": [{"role": "user", "content": "No.\n\nPlease improve your answer."}]},
    "no held-out conversation": {"pair_id": "s:9/4"},
}


@pytest.mark.parametrize("gate", FAULTS)
def test_each_fault_fails_its_gate_and_no_other(gate):
    assert failed(rows(**FAULTS[gate])) == [gate]


@pytest.mark.parametrize(
    "fault",
    [{"rejected_ids": [9, 9]}, {"chosen_ids": [END, 7, 8, 9]}, {"rejected_cut": True}],
    ids=["rejected without end", "end only at the start", "a cut one with an end"],
)
def test_each_reply_has_to_end_its_turn_where_it_ends(fault):
    assert failed(rows(**fault)) == ["end of turn"]


def test_a_reply_that_was_cut_has_no_end_of_turn():
    assert failed(rows(chosen_ids=[7, 8], chosen_cut=True)) == []


def test_a_pair_that_the_trainer_left_out_is_noticed():
    assert failed(rows(), pairs=3) == ["no pair lost"]


@pytest.mark.parametrize(
    ("count", "batch", "said", "warned"),
    [
        (64, 32, "64 pairs in steps of 32, each once in an epoch", False),
        (95, 32, "1 of 95 pairs are trained on twice in an epoch, to fill the last step of 32", False),
        (33, 32, "31 of 33 pairs are trained on twice in an epoch, to fill the last step of 32", True),
        (5, 32, "5 pairs are trained on up to 7 times in an epoch, to fill a step of 32", True),
    ],
)
def test_pairs_that_fill_up_the_last_step_are_counted_and_many_are_a_warning(capsys, count, batch, said, warned):
    gates = Gates()
    PairGates(gates, rows()[:1] * count).check_steps(batch)
    assert gates.results == [{"gate": "whole steps", "passed": True, "detail": said}]
    warning = (
        f"warning: {said}; lower global_batch, or set training.pairs, which the warm-up does not read, to a multiple of it\n"
    )
    assert capsys.readouterr().err == (warning if warned else "")


def test_a_tokenizer_without_start_token_passes():
    assert failed(rows(), tokenizer=SimpleNamespace(**vars(TOKENIZER) | {"bos_token_id": None})) == []


def test_a_reply_that_the_trainer_renders_to_other_tokens_than_its_pair_carries_is_noticed():
    with pytest.raises(StageError, match="'scored reply = trained reply' failed: 1 of 2 pairs, the first is s:2/0") as error:
        check(Gates(), rows(chosen_ids=[7, END]), stored(rows()))
    assert "the chat template, the tokenizer or trl changed since; use the trl of the lock and rebuild" in str(error.value)


def test_the_token_ids_of_a_pair_are_those_that_the_table_carries(tokenizer):
    """Not rendered again: whatever is stored is what the reference scores and the gate compares."""
    pairs = small_pairs(tokenizer, 2)
    first, second = token_rows(pairs)
    assert first["prompt_ids"] == pairs["prompt_token_ids"][0].to_list()
    assert second["chosen_ids"] == pairs["chosen_token_ids"][1].to_list()
    other = pairs_table([pair_row("s:1/0", {"prompt": [4], "chosen": [5, 6], "rejected": [7]})])
    assert token_rows(other) == [{"pair_id": "s:1/0", "prompt_ids": [4], "chosen_ids": [5, 6], "rejected_ids": [7]}]


def test_pairs_of_earlier_iterations_pass_under_their_own_ids():
    replayed = [row | {"pair_id": row["pair_id"] + "~1"} for row in rows()]
    assert failed(rows() + replayed, pairs=4) == []
    assert failed([row | {"pair_id": "s:9/4~2"} for row in rows()[:1]], pairs=1) == ["no held-out conversation"]


def test_the_message_counts_the_rows_names_the_first_and_gives_the_cure():
    with pytest.raises(StageError, match="1 of 2 pairs, the first is s:2/0; the chat template") as error:
        check(Gates(), rows(prompt_token_ids=[START, 5, 5]), stored(rows()))
    assert "rerun the fitting" in str(error.value)


def test_all_failed_gates_are_listed_and_recorded(tmp_path):
    gates = Gates()
    gates.check("one", True, "fine")
    gates.check("two", False, "cause two")
    gates.check("three", False, "cause three")
    with pytest.raises(StageError, match=r"'two' failed: cause two; gate 'three' failed: cause three") as error:
        gates.close()
    assert "'one'" not in str(error.value)
    gates.write(tmp_path / "gates.json")
    recorded = json.loads((tmp_path / "gates.json").read_text())["gates"]
    assert [(gate["gate"], gate["passed"]) for gate in recorded] == [("one", True), ("two", False), ("three", False)]


def checkpoint(state, step: int, complete: bool):
    folder = state / f"checkpoint-{step}"
    folder.mkdir()
    safetensors.torch.save_file({"weight": torch.ones(64)}, folder / "model.safetensors")
    torch.save({"state": torch.ones(64)}, folder / "optimizer.pt")
    if complete:
        (folder / "trainer_state.json").write_text("{}")
    return folder


def test_training_resumes_from_the_newest_checkpoint_by_number(tmp_path):
    for step in (5, 100, 20):
        checkpoint(tmp_path, step, complete=True)
    assert trainer.last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-100")


def test_a_checkpoint_that_was_cut_off_is_deleted_and_the_one_before_used(tmp_path):
    whole, cut = checkpoint(tmp_path, 5, complete=True), checkpoint(tmp_path, 10, complete=False)
    assert trainer.last_complete_checkpoint(tmp_path) == str(whole)
    assert not cut.exists()
    assert (whole / "model.safetensors").exists()


@pytest.mark.parametrize("fault", ["weights end early", "a byte of the optimizer", "an empty optimizer", "a state cut off"])
def test_a_corrupt_checkpoint_gives_way_to_the_one_before_and_the_log_says_so(tmp_path, capsys, fault):
    whole, broken = checkpoint(tmp_path, 5, complete=True), checkpoint(tmp_path, 10, complete=True)
    path = broken / {"weights end early": "model.safetensors", "a state cut off": "trainer_state.json"}.get(
        fault, "optimizer.pt"
    )
    content = bytearray(path.read_bytes())
    if fault == "weights end early":
        content = content[:-8]
    elif fault == "a byte of the optimizer":
        content[content.index(torch.ones(64).numpy().tobytes()) + 9] ^= 1
    else:
        content = content[:0] if fault == "an empty optimizer" else b'{"global_step": '
    path.write_bytes(content)
    assert trainer.last_complete_checkpoint(tmp_path) == str(whole)
    assert re.search(f"{broken} is skipped: {path.name} is corrupt", capsys.readouterr().err)
    assert not broken.exists()


def test_without_a_complete_checkpoint_training_starts_again(tmp_path):
    assert trainer.last_complete_checkpoint(tmp_path / "absent") is None
    cut = checkpoint(tmp_path, 5, complete=False)
    assert trainer.last_complete_checkpoint(tmp_path) is None
    assert not cut.exists()


RESUMING = """
import sys
sys.path.insert(0, {scripts!r})
import torch
from drift.training import trainer
torch.distributed.init_process_group("gloo", init_method="file://{meeting}", world_size=3, rank=int(sys.argv[1]))
torch.distributed.barrier()
print(trainer.last_complete_checkpoint(trainer.Path({state!r})))
"""


@pytest.mark.slow
def test_all_devices_resume_from_the_same_checkpoint_while_broken_ones_are_deleted(tmp_path, warm_environments):
    state = tmp_path / "state"
    state.mkdir()
    whole = checkpoint(state, 5, complete=True)
    for step in range(10, 30):
        broken = checkpoint(state, step, complete=step % 2 == 0)
        (broken / "optimizer.pt").write_bytes(b"cut off")
        for part in range(20):
            (broken / f"{part}.safetensors").write_bytes((broken / "model.safetensors").read_bytes())
    program = tmp_path / "resuming.py"
    program.write_text(RESUMING.format(scripts=str(REPOSITORY / "scripts"), meeting=tmp_path / "meeting", state=str(state)))
    processes = [
        subprocess.Popen(
            [warm_environments["cpu"], program, str(rank)],
            env=os.environ | {"RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(3)
    ]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert [chosen.strip() for chosen, _ in said] == [str(whole)] * 3
    assert [path.name for path in state.iterdir()] == [whole.name]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_stops_the_training_with_metric_and_step(value):
    with pytest.raises(StageError, match=r"'finite loss' failed: grad_norm is .* at step 7; lower learning_rate"):
        trainer.Watch(None, 0.0).on_log(None, SimpleNamespace(global_step=7), None, {"grad_norm": value})


def test_finite_values_go_on():
    watch = trainer.Watch(None, 0.0)
    watch.bar = SimpleNamespace(set_postfix=lambda **shown: shown)
    watch.on_log(None, SimpleNamespace(global_step=7), None, {"loss": 0.69, "rewards/margins": 0.0, "grad_norm": 1.0})


def test_the_trainer_gets_chats_and_the_length_of_the_longer_side():
    lengths = [("s:1/0", 3, 5), ("s:2/0", 9, 4)]
    ids = {
        pair_id: {"prompt": [1] * 4, "chosen": [2] * chosen, "rejected": [3] * rejected}
        for pair_id, chosen, rejected in lengths
    }
    pairs = tables.Pairs.validate(pairs_table([pair_row(pair_id, token_ids) for pair_id, token_ids in ids.items()]))
    dataset = trainer.as_dataset(pairs)
    assert list(dataset["length"]) == [9, 13]
    assert list(dataset["pair_id"]) == ["s:1/0", "s:2/0"]
    assert (dataset[0]["chosen_cut"], dataset[0]["rejected_cut"]) == (False, False)
    assert dataset[0]["prompt"] == [{"role": "user", "content": "Hello?"}]
    assert dataset[0]["chosen"] == [{"role": "assistant", "content": "Good."}]
    assert dataset[0]["rejected"] == [{"role": "assistant", "content": "Bad."}]


def test_a_gate_names_the_cure_only_where_it_failed():
    gates = Gates()
    gates.check("all steps ran", True, "5 of 5 steps", "run again")
    gates.check("all steps ran", False, "4 of 5 steps", "run again")
    assert [gate["detail"] for gate in gates.results] == ["5 of 5 steps", "4 of 5 steps; run again"]
