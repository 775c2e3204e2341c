"""Training as a program: what a user gets when it runs through, is stopped, asked to end, or given
bad input."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import train
from drift import cli, policies, tables
from drift.chat import render
from drift.training import remainder, trainer
from drift.training.logps import token_rows
from tests.builders.pairs import small_pairs, with_prefixes
from tests.builders.policies import behaviour
from tests.builders.texts import write
from tests.builders.training import launched, train_settings, training_run

pytestmark = pytest.mark.slow


def test_a_training_stopped_by_its_deadline_continues_to_the_same_weights(run_train, tmp_path):
    whole = run_train(tmp_path / "whole")
    stopped = tmp_path / "stopped"
    for step in (1, 2):
        with pytest.raises(
            cli.StageError, match=f"stopped after {step} of 4 steps, as the job's time limit is near.*Run again"
        ):
            run_train(stopped, run={"deadline": 0.0, "checkpoint_steps": 50})
        assert [path.name for path in stopped.iterdir()] == ["state"], "a training that stopped early left more than its state"
    resumed = run_train(stopped)
    assert (resumed["weights_sha256"], resumed["remainder_sha256"]) == (whole["weights_sha256"], whole["remainder_sha256"])
    assert not list((stopped / "state").iterdir())


def logged(folder: Path) -> dict[tuple[int, str], float]:
    """The trainer's log by step and metric, without what follows from a clock."""
    rows = tables.read_table(tables.TrainLog, folder / "train.parquet").iter_rows()
    return {(step, metric): value for step, metric, value in rows if not metric.endswith(("_runtime", "_per_second"))}


def test_the_log_of_a_resumed_training_is_that_of_one_in_one_go(run_train, tmp_path, monkeypatch):
    """Stopped within it, and after its last step, where nothing is left to train."""
    run_train(tmp_path / "whole")
    stopped = tmp_path / "stopped"
    with pytest.raises(cli.StageError, match="stopped after 1 of 4 steps"):
        run_train(stopped, run={"deadline": 0.0, "checkpoint_steps": 50})
    with monkeypatch.context() as patch:
        patch.setattr(train, "trained_policy", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            run_train(stopped)
    run_train(stopped)
    assert logged(stopped) == logged(tmp_path / "whole")


def test_a_training_resumed_in_a_later_epoch_sees_the_same_pairs_in_the_same_order(run_train, tmp_path, monkeypatch):
    epochs = {"settings": {"epochs": 2}}
    whole = run_train(tmp_path / "whole", **epochs)
    assert whole["steps_done"] == 8
    stopped = tmp_path / "stopped"
    asked = iter(range(6))
    with monkeypatch.context() as patch:
        patch.setattr(train.Deadline, "near", lambda *_: next(asked) == 5)
        with pytest.raises(cli.StageError, match="stopped after 6 of 8 steps"):
            run_train(stopped, run={"checkpoint_steps": 50}, **epochs)
    assert run_train(stopped, **epochs)["weights_sha256"] == whole["weights_sha256"]


def test_a_training_whose_last_step_is_filled_up_resumes_before_and_after_it(run_train, train_inputs, tmp_path, monkeypatch):
    two_epochs = {"settings": {"epochs": 2}, "rows": train_inputs / "one_more.parquet"}
    whole = run_train(tmp_path / "whole", **two_epochs)
    assert whole["steps_done"] == whole["steps_planned"] == 10
    gates = {row["gate"]: row["detail"] for row in json.loads((tmp_path / "whole/gates.json").read_text())["gates"]}
    assert gates["whole steps"] == "3 of 17 pairs are trained on twice in an epoch, to fill the last step of 4"
    assert gates["no pair lost"] == "0 of 17 pairs were left out by the trainer"
    stopped = tmp_path / "stopped"
    for steps, done in ((4, 4), (1, 5), (4, 9)):
        asked = iter(range(1, steps + 1))
        with monkeypatch.context() as patch:
            patch.setattr(train.Deadline, "near", lambda *_, asked=asked, steps=steps: next(asked) == steps)
            with pytest.raises(cli.StageError, match=f"stopped after {done} of 10 steps"):
                run_train(stopped, run={"checkpoint_steps": 50}, **two_epochs)
    assert run_train(stopped, **two_epochs)["weights_sha256"] == whole["weights_sha256"]


def test_gradient_checkpointing_changes_no_weight(run_train, tmp_path):
    plain = run_train(tmp_path / "plain")
    saving = run_train(tmp_path / "saving", run={"gradient_checkpointing": True})
    assert saving["weights_sha256"] == plain["weights_sha256"]


def test_a_model_that_comes_with_dropout_is_trained_without(run_train, tiny_model, tmp_path):
    """As its reference is scored. Attention has a rate, and no module of dropout."""
    start = shutil.copytree(tiny_model, tmp_path / "start")
    config = json.loads((start / "config.json").read_text())
    assert config["attention_dropout"] == 0.0
    (start / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.5}))
    without, with_rate = run_train(tmp_path / "without"), run_train(tmp_path / "with", start=start)
    assert with_rate["weights_sha256"] == without["weights_sha256"]
    assert json.loads((tmp_path / "with/policy/config.json").read_text())["attention_dropout"] == 0.5, "it is the model's"


def test_a_model_whose_generation_settings_contradict_each_other_is_trained(run_train, tiny_model, tokenizer, tmp_path):
    """transformers loads them and refuses to save them: at the first checkpoint, and at the end."""
    start = shutil.copytree(tiny_model, tmp_path / "start")
    ends = {"eos_token_id": [tokenizer.eos_token_id, 0]}
    (start / "generation_config.json").write_text(json.dumps({"temperature": 0.9, "top_p": 0.6} | ends))
    manifest = run_train(tmp_path / "run", start=start)
    assert manifest["steps_done"] == 4
    kept = json.loads((tmp_path / "run/policy/generation_config.json").read_text())
    assert kept["eos_token_id"] == ends["eos_token_id"], "an engine stops there"
    assert not kept.keys() & {"temperature", "top_p"}


def test_adapters_are_merged_into_the_policy_and_resumed_to_the_same_weights(run_train, tiny_model, tmp_path):
    lora = {"training": {"lora": {"rank": 4, "alpha": 8, "dropout": 0.1, "targets": "all-linear"}, "learning_rate": 1e-2}}
    whole = run_train(tmp_path / "whole", **lora)
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_model, tmp_path / "whole/policy"))
    assert before.keys() == after.keys()
    changed = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    with pytest.raises(cli.StageError, match="stopped after 1 of 4"):
        run_train(tmp_path / "stopped", run={"deadline": 0.0}, **lora)
    assert run_train(tmp_path / "stopped", **lora)["weights_sha256"] == whole["weights_sha256"]


def in_full(policy: Path, part: Path) -> dict[str, torch.Tensor]:
    """The fp32 weights of a policy and its remainder."""
    model = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
    remainder.restore(model, part)
    return {name: weights.data for name, weights in model.named_parameters()}


def test_a_training_goes_on_from_the_fp32_weights_of_the_one_before(run_train, trained_before, tiny_model, tmp_path):
    """Steps that are a hundredth of what bf16 rounds away."""
    manifest = run_train(tmp_path, training={"learning_rate": 1e-7}, **trained_before)
    before = in_full(tiny_model, trained_before["start-remainder"])
    after = in_full(tmp_path / "policy", tmp_path / "remainder")
    moved = {name: after[name] - before[name] for name in before}
    assert max(change.abs().max() for change in moved.values()) < 1e-5, "further than four steps can lead"
    rounded_away = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).state_dict()
    assert max((before[name] - rounded_away[name]).abs().max() for name in before) > 1e-3
    norm = sum(change.double().pow(2).sum().item() for change in moved.values()) ** 0.5
    assert manifest["update_norm"] == pytest.approx(norm, rel=1e-3)
    assert manifest["parent_remainder_sha256"] == policies.weights_sha256(trained_before["start-remainder"])
    assert manifest["remainder_sha256"] == policies.weights_sha256(tmp_path / "remainder")


def test_a_chain_of_policies_that_would_lose_most_of_each_update_is_refused(run_train, tmp_path):
    carried = {"learning_rate": 1e-6, "carry": "bf16"}
    with pytest.raises(
        cli.StageError, match=r"'update carried' failed: \d\.\d% of the update .*min_carried: 0\.5.*Set training\.carry: fp32"
    ):
        run_train(tmp_path, training=carried)
    assert not (tmp_path / "policy").exists()


@pytest.mark.parametrize("launcher", ["ddp", "fsdp2"])
def test_two_devices_train_what_one_does(run_train, train_inputs, trained_before, tmp_path, warm_environments, launcher):
    """The last step is filled up. fp32: sums over devices round in another order, which bf16
    activations would amplify."""
    precise = {"training": {"precision": "fp32"}, "rows": train_inputs / "one_more.parquet"} | trained_before
    run_train(tmp_path / "one", **precise)
    done = launched(run_train.command(tmp_path / "two", **precise), launcher, warm_environments["cpu"])
    assert done.returncode == 0, done.stderr[-4000:]
    one, two = (in_full(tmp_path / folder / "policy", tmp_path / folder / "remainder") for folder in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weights in one.items():
        assert torch.equal(weights, two[name]) or (weights - two[name]).norm() < 1e-3 * weights.norm(), name
    logs = [tables.read_table(tables.TrainLog, tmp_path / folder / "train.parquet") for folder in ("one", "two")]
    for metric in ("loss", "rewards/margins", "grad_norm"):
        a, b = (log.filter(metric=metric)["value"].to_list() for log in logs)
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5), metric


def test_pairs_of_an_earlier_iteration_are_trained_on_too(run_train, train_inputs, tmp_path):
    manifest = run_train(tmp_path, replay=train_inputs / "pairs.parquet")
    assert manifest["steps_done"] == 8
    assert manifest["replay_sha256"] == [manifest["pairs_sha256"]]
    own = tables.read_table(tables.Logps, tmp_path / "reference.parquet")
    assert own["pair_id"].to_list() == tables.read_table(tables.Pairs, train_inputs / "pairs.parquet")["pair_id"].to_list()


@pytest.fixture
def other_policy(tiny_model, tmp_path):
    """A policy that differs from the tiny model, and its manifest."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    model.lm_head.weight.data *= 1.5
    model.save_pretrained(tmp_path / "other")
    policies.write_manifest(tmp_path / "other.json", {"weights_sha256": policies.weights_sha256(tmp_path / "other")})
    return {"reference": tmp_path / "other", "reference-manifest": tmp_path / "other.json"}


def test_with_another_reference_than_the_start_margins_do_not_begin_at_zero(run_train, other_policy, tmp_path):
    manifest = run_train(tmp_path / "run", **other_policy)
    assert manifest["reference_sha256"] != manifest["parent_sha256"]
    log = tables.read_table(tables.TrainLog, tmp_path / "run/train.parquet")
    (first,) = log.filter(metric="rewards/margins", step=1)["value"]
    assert abs(first) > 0.1


def test_a_reference_scored_with_other_weights_than_the_start_fails_a_gate(run_train, other_policy, train_inputs, tmp_path):
    """As happens where a process scores with weights that were never loaded."""
    with pytest.raises(cli.StageError, match="'the reference is the start' failed"):
        run_train(tmp_path / "run", **other_policy | {"reference-manifest": train_inputs / "base.json"})
    assert not (tmp_path / "run/policy.json").exists()


def test_an_update_that_changes_hardly_a_weight_fails_a_gate(run_train, tmp_path):
    with pytest.raises(
        cli.StageError, match=r"'weights changed' failed: 0\.\d% of the weights in \d+ steps.*raise learning_rate"
    ):
        run_train(tmp_path, training={"learning_rate": 1e-12})
    assert not (tmp_path / "policy.json").exists()


def test_a_loss_that_explodes_fails_a_gate(run_train, tmp_path):
    with pytest.raises(cli.StageError, match=r"'finite loss' failed: .* is (nan|inf) at step"):
        run_train(tmp_path, training={"learning_rate": 1e30})
    assert not (tmp_path / "policy.json").exists()


def test_a_training_that_ends_before_its_last_step_is_not_published(run_train, tmp_path, monkeypatch):
    """As transformers' own just-in-time checkpoints do, which return from training as if it were
    done."""

    def stop(self, args, state, control, **_):
        control.should_training_stop = True

    monkeypatch.setattr(trainer.Watch, "on_step_end", stop)
    monkeypatch.setattr(trainer.Watch, "on_save", lambda *_, **__: None)
    with pytest.raises(cli.StageError, match="'all steps ran' failed: 1 of 4 steps"):
        run_train(tmp_path)
    assert not (tmp_path / "policy.json").exists()


def test_nothing_is_trained_from_a_policy_that_lost_its_words(run_train, train_inputs, tiny_model, tmp_path):
    start = {"name": "tiny/drift/seed42/iter1", "weights_sha256": policies.weights_sha256(tiny_model)}
    policies.write_manifest(tmp_path / "start.json", start)
    given = {"start-manifest": tmp_path / "start.json", "behaviour": tmp_path / "behaviour.parquet"}

    def written(**columns) -> None:
        write([behaviour("tokens_median", 6.0, **columns)], tables.Behaviour, given["behaviour"])

    written(passed=False, stops=True)
    with pytest.raises(cli.StageError, match=r"drift/seed42/iter1: tokens_median: 6\.0\. .*min_score.*training\.behaviour has"):
        run_train(tmp_path / "run", **given)
    assert not (tmp_path / "run").exists(), "not even begun"
    written()
    run_train(tmp_path / "run", **given)
    gates = json.loads((tmp_path / "run/gates.json").read_text())["gates"]
    assert (gates[0]["gate"], gates[0]["passed"]) == ("the start writes as before", True)


PLANTED = {
    "feedback in the prompt": "'training prompt = fitted prompt' failed: 1 of 16 pairs, the first is s:3/0",
    "another template": "'sampling prompt = training prompt' failed: 16 of 16 pairs",
    "a reply of other tokens": "'scored reply = trained reply' failed: 1 of 16 pairs, the first is s:3/0; .*rebuild the pairs",
    "a held-out conversation": "'no held-out conversation' failed: 1 of 16 pairs, the first is s:3/0",
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_stopped_before_the_first_step(run_train, train_inputs, tiny_model, tokenizer, tmp_path, fault):
    pairs = tables.read_table(tables.Pairs, train_inputs / "pairs.parquet")
    changed = {}
    if fault == "feedback in the prompt":
        rows = pairs.to_dicts()
        row = next(row for row in rows if row["pair_id"] == "s:3/0")
        row["prompt"] += [{"role": "assistant", "content": row["rejected"]}, {"role": "user", "content": "No, canary."}]
        row["prompt_token_ids"] = render(tokenizer, row["prompt"])
        tables.write_table(pl.DataFrame(rows, schema=pairs.schema), tables.Pairs, tmp_path / "pairs.parquet")
        changed = {"rows": tmp_path / "pairs.parquet"}
    elif fault == "a reply of other tokens":
        rejected = pl.col("rejected_token_ids")
        other = pl.when(pair_id="s:3/0").then(rejected.list.reverse()).otherwise(rejected)
        tables.write_table(pairs.with_columns(other.alias("rejected_token_ids")), tables.Pairs, tmp_path / "pairs.parquet")
        changed = {"rows": tmp_path / "pairs.parquet"}
    elif fault == "another template":
        shutil.copytree(tiny_model, tmp_path / "start")
        template = tmp_path / "start/chat_template.jinja"
        template.write_text("{{ '<|im_start|>' }}" + template.read_text())
        changed = {"start": tmp_path / "start"}
    else:
        prompts = tables.read_table(tables.Prompts, train_inputs / "prompts.parquet")
        test = prompts.filter(prompt_id="s:3/0").with_columns(prompt_id=pl.lit("s:3/2"), split=pl.lit("test"))
        tables.write_table(pl.concat([prompts, test]), tables.Prompts, tmp_path / "prompts.parquet")
        changed = {"prompts": tmp_path / "prompts.parquet"}
    with pytest.raises(cli.StageError, match=PLANTED[fault]):
        run_train(tmp_path / "run", **changed)
    assert not list((tmp_path / "run").glob("state/*/checkpoint-*"))


def test_a_reply_that_was_cut_is_trained_on_without_an_end_of_turn(tiny_model, tokenizer, tmp_path):
    """In the batches that the loss is computed of: TRL renders every reply with an end."""
    pairs = with_prefixes(small_pairs(tokenizer, 4), tokenizer)
    stored = {row["pair_id"]: row for row in token_rows(pairs)}
    dataset = trainer.as_dataset(pairs)
    config = trainer.trainer_config(train_settings(), training_run(), tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    logps = dict.fromkeys(stored, (0.0, 0.0))
    made = trainer.Trainer(model, config, logps, train_dataset=dataset, processing_class=tokenizer)
    for row in made.train_dataset:
        batch = made.data_collator([row])
        taught = [ids[mask == 1].tolist() for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)]
        assert taught == [stored[row["pair_id"]][side] for side in ("chosen_ids", "rejected_ids")]
        assert [tokenizer.eos_token_id in ids for ids in taught] == [not row["chosen_cut"], not row["rejected_cut"]]
    assert sum(made.train_dataset["chosen_cut"]) == 2


def test_prefixes_pass_every_gate_and_one_that_the_trainer_would_close_does_not(
    run_train, train_inputs, tokenizer, tmp_path, monkeypatch
):
    pairs = with_prefixes(tables.read_table(tables.Pairs, train_inputs / "pairs.parquet"), tokenizer)
    tables.write_table(pairs, tables.Pairs, tmp_path / "pairs.parquet")
    assert run_train(tmp_path / "run", rows=tmp_path / "pairs.parquet")["steps_done"] == 4
    log = tables.read_table(tables.TrainLog, tmp_path / "run/train.parquet").filter(metric="rewards/margins", step=1)
    assert abs(log["value"][0]) < 1e-3, "the reference has scored the same tokens"
    monkeypatch.delattr(trainer.Trainer, "_prepare_dataset")
    with pytest.raises(cli.StageError, match=r"'scored reply = trained reply' failed: 2 of 16.*'end of turn' failed: 2 of 16"):
        run_train(tmp_path / "closed", rows=tmp_path / "pairs.parquet")


def test_a_cut_reply_and_an_identical_pair_are_refused_with_the_rule_they_break(run_train, train_inputs, tmp_path):
    pairs = tables.read_table(tables.Pairs, train_inputs / "pairs.parquet")
    for name, fault in {
        "_sampled_replies_ended_or_are_prefixes": {"chosen_finish": pl.lit("length")},
        "_sides_differ": {"chosen": "rejected"},
    }.items():
        pairs.with_columns(**fault).write_parquet(tmp_path / "pairs.parquet")
        with pytest.raises(tables.TableError, match=rf"(?s)pairs\.parquet: rows that are not Pairs.*{name}"):
            run_train(tmp_path / "run", rows=tmp_path / "pairs.parquet")


def test_a_pair_table_that_is_empty_or_lacks_a_column_is_refused_by_name(run_train, train_inputs, tmp_path):
    pairs = tables.read_table(tables.Pairs, train_inputs / "pairs.parquet")
    path = tmp_path / "pairs.parquet"
    pairs.head(0).write_parquet(path)
    with pytest.raises(cli.StageError, match=r"pairs\.parquet has no pairs"):
        run_train(tmp_path / "run", rows=path)
    pairs.drop("rejected").write_parquet(path)
    with pytest.raises(tables.TableError, match=r"pairs\.parquet: not a readable Pairs table.*rejected"):
        run_train(tmp_path / "run", rows=path)


def test_a_start_without_a_chat_template_is_refused_with_the_cure(run_train, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "start")
    (tmp_path / "start/chat_template.jinja").unlink()
    with pytest.raises(cli.StageError, match="no chat template; use an instruction-tuned model"):
        run_train(tmp_path / "run", start=tmp_path / "start")


def test_a_tracker_that_is_not_installed_is_named_with_the_cure(run_train, tmp_path):
    with pytest.raises(
        cli.StageError, match=r"training\.tracker: wandb, but its package is not installed; .* -m pip install wandb"
    ):
        run_train(tmp_path, run={"tracker": "wandb"})


def test_a_global_batch_that_the_devices_cannot_share_is_an_error(run_train, tmp_path):
    with pytest.raises(cli.StageError, match="global_batch 4 is not a multiple of device_batch 2 x 3 devices"):
        run_train(tmp_path, run={"launcher": "ddp", "processes": 3})
