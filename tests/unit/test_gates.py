"""What stands between a run and a policy that learnt nothing, or the wrong thing."""

import contextlib
import copy
import json
import math
import re
from types import SimpleNamespace

import polars as pl
import pytest
import safetensors.torch
import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from trl.trainer.utils import add_fused_lm_head

import train
from drift import tables
from drift.cli import StageError
from drift.training import cpu_lm_head, cpu_packing, trainer
from drift.training.gates import Gates
from drift.training.logps import pair_logps

START, END = 1, 2
TOKENIZER = SimpleNamespace(bos_token_id=START, eos_token_id=END, eos_token="</s>")
SETTINGS = {"instruction": "Please improve your answer.", "training": {"max_length": 12}}


def rows(**fault) -> list[dict]:
    """Two sound rows as the trainer has them; `fault` changes the second."""
    sound = {
        "prompt": [{"role": "user", "content": "Hello?"}],
        "prompt_ids": [START, 5, 6],
        "prompt_token_ids": [START, 5, 6],
        "chosen_ids": [7, 8, END, 10],  # a line break may follow the end of turn
        "rejected_ids": [9, END],
    }
    return [{"pair_id": "s:1/0"} | sound, {"pair_id": "s:2/0"} | sound | fault]


# The prompts as they were fitted; those of the faults below too, but for the one that is about it.
FITTED = {prompt_id: [[START, 5, 6], [START, 5, 5], [START, START, 5]] for prompt_id in ("s:1/0", "s:2/0", "s:9/4")}


def scored(trained: list[dict], pairs: int = 2) -> list[dict]:
    """What the reference was asked about these rows, and about others that the trainer never saw."""
    others = [{"pair_id": f"lost:{number}/0"} for number in range(len(trained), pairs)]
    return [{key: row[key] for key in ("pair_id", "chosen_ids", "rejected_ids")} for row in trained] + others


def closed(trained: list[dict], pairs: int = 2, tokenizer=TOKENIZER) -> list[str]:
    """Names of the gates that these rows find shut; conversation s:9 is held out."""
    gates = Gates()
    with contextlib.suppress(StageError):
        train.check_rows(gates, Dataset.from_list(trained), scored(trained, pairs), {"s:9"}, FITTED, tokenizer, SETTINGS)
        assert all(result["passed"] for result in gates.results), "a shut gate did not stop the stage"
    assert len(gates.results) == 10
    return [result["gate"] for result in gates.results if not result["passed"]]


def test_sound_rows_pass_every_gate():
    assert closed(rows()) == []


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
def test_a_gate_is_shut_by_its_fault_and_by_no_other(gate):
    assert closed(rows(**FAULTS[gate])) == [gate]


@pytest.mark.parametrize(
    "fault",
    [{"rejected_ids": [9, 9]}, {"chosen_ids": [END, 7, 8]}],
    ids=["rejected without end", "end only at the start"],
)
def test_each_reply_has_to_end_its_turn_where_it_ends(fault):
    assert closed(rows(**fault)) == ["end of turn"]


def test_a_pair_that_the_trainer_left_out_is_noticed():
    assert closed(rows(), pairs=3) == ["no pair lost"]


def test_a_tokenizer_without_start_token_passes():
    assert closed(rows(), tokenizer=SimpleNamespace(**vars(TOKENIZER) | {"bos_token_id": None})) == []


def test_a_reply_that_the_trainer_renders_in_another_way_than_the_reference_is_noticed():
    gates = Gates()
    with pytest.raises(StageError, match="'scored reply = trained reply' failed: 1 of 2 pairs, the first is s:2/0"):
        train.check_rows(
            gates, Dataset.from_list(rows(chosen_ids=[7, END])), scored(rows()), set(), FITTED, TOKENIZER, SETTINGS
        )


def test_pairs_of_earlier_rounds_pass_under_their_own_ids():
    replayed = [row | {"pair_id": row["pair_id"] + "~1"} for row in rows()]
    assert closed(rows() + replayed, pairs=4) == []
    assert closed([row | {"pair_id": "s:9/4~2"} for row in rows()[:1]], pairs=1) == ["no held-out conversation"]


def test_the_message_counts_the_rows_names_the_first_and_says_the_cure():
    gates = Gates()
    with pytest.raises(StageError, match="1 of 2 pairs, the first is s:2/0; the chat template") as error:
        train.check_rows(
            gates, Dataset.from_list(rows(prompt_token_ids=[START, 5, 5])), scored(rows()), set(), FITTED, TOKENIZER, SETTINGS
        )
    assert "rerun the fitting" in str(error.value)


def test_all_shut_gates_are_listed_and_recorded(tmp_path):
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
    assert re.search(f"{broken} is left out: {path.name} is corrupt", capsys.readouterr().err)
    assert not broken.exists()


def test_without_a_complete_checkpoint_training_starts_anew(tmp_path):
    assert trainer.last_complete_checkpoint(tmp_path / "absent") is None
    cut = checkpoint(tmp_path, 5, complete=False)
    assert trainer.last_complete_checkpoint(tmp_path) is None
    assert not cut.exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_not_finite_stops_the_training_with_metric_and_step(value):
    with pytest.raises(StageError, match=r"'finite loss' failed: grad_norm is .* at step 7; lower learning_rate"):
        trainer.Watch(None, 0.0).on_log(None, SimpleNamespace(global_step=7), None, {"grad_norm": value})


def test_finite_figures_go_on():
    watch = trainer.Watch(None, 0.0)
    watch.bar = SimpleNamespace(set_postfix=lambda **shown: shown)
    watch.on_log(None, SimpleNamespace(global_step=7), None, {"loss": 0.69, "rewards/margins": 0.0, "grad_norm": 1.0})


SIZES = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def llama(seed: int = 0, **options) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**SIZES, **options)).eval()


@pytest.fixture(params=[False, True], ids=["own head", "tied head"])
def start(tmp_path, request):
    """Folder of a policy in bf16."""
    llama(tie_word_embeddings=request.param).to(torch.bfloat16).save_pretrained(tmp_path / "start")
    return tmp_path / "start"


def master_weights(folder) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def rounded(model, start) -> float:
    return train.round_weights(model, start, [name for name, _ in model.named_parameters()])


def test_an_untrained_model_has_changed_nothing(start):
    assert rounded(master_weights(start), start) == 0.0


def test_steps_that_rounding_swallows_are_no_change(start):
    model = master_weights(start)
    for parameter in model.parameters():
        parameter.data *= 1 + 1e-4  # bf16 has 8 bits: steps of about 0.4 %
    assert rounded(model, start) == 0.0


def test_the_share_of_changed_weights_is_counted_and_the_model_left_as_it_is_kept(start):
    model = master_weights(start)
    changed = model.model.layers[0].mlp.up_proj.weight
    changed.data *= 1.01
    share = rounded(model, start)
    assert share == pytest.approx(changed.numel() / sum(parameter.numel() for parameter in model.parameters()), rel=0.05)
    assert all(torch.equal(p, p.to(torch.bfloat16).float()) for p in model.parameters())


def pairs_table() -> pl.DataFrame:
    sides = [("s:1/0", 3, 5), ("s:2/0", 9, 4)]
    return pl.DataFrame(
        [
            {
                "pair_id": pair_id,
                "prompt": [{"role": "user", "content": "Hello?"}],
                "prompt_token_ids": [1, 2, 3, 4],
                "chosen": "Good.",
                "rejected": "Bad.",
                "chosen_from": "logged",
                "rejected_from": "logged",
                "chosen_finish": None,
                "rejected_finish": None,
                "chosen_tokens": chosen,
                "rejected_tokens": rejected,
            }
            for pair_id, chosen, rejected in sides
        ],
        schema=tables.Pairs.create_empty().schema,
    )


def test_the_trainer_gets_chats_and_the_length_of_the_longer_side():
    dataset = trainer.as_dataset(pairs_table())
    assert list(dataset["length"]) == [9, 13]
    assert list(dataset["pair_id"]) == ["s:1/0", "s:2/0"]
    assert dataset[0]["prompt"] == [{"role": "user", "content": "Hello?"}]
    assert dataset[0]["chosen"] == [{"role": "assistant", "content": "Good."}]
    assert dataset[0]["rejected"] == [{"role": "assistant", "content": "Bad."}]


PROMPT, REPLY = [1, 4, 9, 16], [25, 3, 7, 2]


def by_hand(model, prompt: list[int], reply: list[int]) -> float:
    """log pi(reply | prompt), token by token from all logits."""
    ids = prompt + reply
    with torch.no_grad():
        logps = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(logps[position - 1, ids[position]].item() for position in range(len(prompt), len(ids)))


@pytest.mark.parametrize("read", ["one after the other", "in one go"])
@pytest.mark.parametrize("reply", [REPLY, REPLY[:1]], ids=["four tokens", "one token"])
def test_a_replys_log_probability_is_the_sum_over_its_tokens(reply, read):
    model = llama()
    row = {"prompt_ids": PROMPT, "chosen_ids": reply, "rejected_ids": REPLY[:2]}
    expected = by_hand(model, PROMPT, reply), by_hand(model, PROMPT, REPLY[:2])
    if read == "in one go":
        assert cpu_packing.prepare(model)
    chosen, rejected = pair_logps(model, row)
    assert (chosen.item(), rejected.item()) == pytest.approx(expected, abs=1e-4)


def batch() -> dict[str, torch.Tensor]:
    """Two pairs, padded, of which only the replies are scored: the chosen sequences, then the rejected ones."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 32, (4, 10), generator=generator)
    mask, labels = torch.ones_like(ids), ids.clone()
    for pair, prompt in enumerate((4, 2)):
        ids[2 + pair, :prompt] = ids[pair, :prompt]
        labels[[pair, 2 + pair], :prompt] = -100
    for row, length in ((1, 7), (2, 5)):
        mask[row, length:], labels[row, length:] = 0, -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")


def both_heads(monkeypatch, chunk: int, full=None):
    """The same model (a Llama if not given) with TRL's head, and with the one that scores replies only."""
    monkeypatch.setattr(cpu_lm_head, "CHUNK", chunk)
    full = full or llama()
    short = copy.deepcopy(full)
    for model in (full, short):
        add_fused_lm_head(model, outputs=OUTPUTS)
    cpu_lm_head.score_replies_only(short)
    return full, short


def test_a_model_that_scales_or_biases_its_logits_keeps_the_trainers_head():
    for change in ("scale", "bias"):
        model = llama()
        if change == "scale":
            model.config.logit_scale = 0.5
        else:
            model.lm_head.bias = torch.nn.Parameter(torch.ones(model.config.vocab_size))
        add_fused_lm_head(model, outputs=OUTPUTS)
        head = model.forward
        cpu_lm_head.score_replies_only(model)
        assert model.forward == head, change


@pytest.mark.parametrize("chunk", [3, 512])
def test_the_short_head_gives_the_trainers_figures(monkeypatch, chunk):
    full, short = both_heads(monkeypatch, chunk)
    expected, got = full(**batch(), fused_lm_head=True), short(**batch(), fused_lm_head=True)
    for name in (*OUTPUTS, "loss"):
        torch.testing.assert_close(got[name].float(), expected[name].float(), atol=1e-5, rtol=0, msg=name)
    assert torch.equal(got.label_mask, expected.label_mask)
    masked = batch()["labels"][:, 1:] == -100
    assert masked.any()
    assert (got.log_probs[masked] == 0).all()
    assert (got.log_probs[~masked] < 0).all()


@pytest.mark.parametrize("chunk", [3, 512])
def test_the_short_head_gives_the_trainers_gradients(monkeypatch, chunk):
    gradients = []
    for model in both_heads(monkeypatch, chunk):
        scores = model(**batch(), fused_lm_head=True).log_probs
        (scores.sum(1) * torch.tensor([1.0, -2.0, 0.5, 3.0])).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    full, short = gradients
    assert full.keys() == short.keys()
    assert all(gradient.abs().max() > 0 for gradient in full.values())
    for name in full:
        torch.testing.assert_close(short[name], full[name], atol=1e-5, rtol=1e-4, msg=name)


def test_prompts_are_read_once_for_both_replies_and_padding_never(monkeypatch):
    _, short = both_heads(monkeypatch, 512)
    read = []
    short.base_model.register_forward_pre_hook(lambda _, __, inputs: read.append(inputs["input_ids"]), with_kwargs=True)
    short(**batch(), fused_lm_head=True)
    assert [tuple(ids.shape) for ids in read] == [(1, (4 + 6 + 1) + (2 + 5 + 8))], "prompt, chosen and rejected of each pair"


def test_sequences_that_are_no_pairs_are_refused(monkeypatch):
    _, short = both_heads(monkeypatch, 512)
    foreign = batch()
    foreign["input_ids"][2, 1] += 1
    with pytest.raises(ValueError, match="do not have the same prompt"):
        short(**foreign, fused_lm_head=True)


def test_a_model_whose_attention_has_windows_is_read_as_ever(monkeypatch):
    config = Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=3, max_window_layers=0)
    torch.manual_seed(0)
    full, short = both_heads(monkeypatch, 512, Qwen2ForCausalLM(config))
    expected, got = full(**batch(), fused_lm_head=True), short(**batch(), fused_lm_head=True)
    torch.testing.assert_close(got.log_probs, expected.log_probs, atol=1e-5, rtol=0)


def test_a_batch_without_a_reply_scores_nothing(monkeypatch):
    _, short = both_heads(monkeypatch, 512)
    nothing = batch()
    nothing["labels"] = torch.full_like(nothing["labels"], -100)
    nothing["input_ids"][2:], nothing["attention_mask"][2:] = nothing["input_ids"][:2], nothing["attention_mask"][:2]
    output = short(**nothing, fused_lm_head=True)
    assert (output.log_probs == 0).all()
    assert output.loss == 0


def test_without_the_short_head_the_model_is_as_it_was(monkeypatch):
    _, short = both_heads(monkeypatch, 512)
    torch.testing.assert_close(short(batch()["input_ids"]).logits, llama()(batch()["input_ids"]).logits)
