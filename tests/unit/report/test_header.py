"""What a reader must know comes before any number."""

from drift.config import Config, LabelNoise, load
from drift.report.cost_tables import PolicyCost
from drift.report.gate_tables import Gate, GateSummary
from drift.report.header import facts, versions
from drift.report.notices import check_notices, judge_notices, notices, rounding_notices
from drift.report.reading import Policy
from tests.builders.run import CONFIG, evaluation
from tests.unit.report.rows import score

PASSED = GateSummary([])


def test_label_noise_is_named():
    noise = LabelNoise(dsat=0.25, drawn_from="neutral")
    config = CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update={"label_noise": noise})})
    (notice,) = (one for one in notices(config, PASSED) if one.title == "Label noise")
    assert "25.0% of dsat. " in notice.text
    assert "NEUTRAL" in notice.text


def test_trusted_judge_is_not_warned_about():
    config = CONFIG.model_copy(update={"evaluation": evaluation(trusted=True)})
    assert [notice.title for notice in notices(CONFIG, PASSED)] == ["Judge tiny", "Labels"]
    assert [notice.title for notice in notices(config, PASSED)] == ["Labels"]


def test_a_judge_of_the_models_family_is_warned_about():
    related = CONFIG.model_copy(update={"evaluation": evaluation(trusted=True, path="hf:Qwen/Qwen2.5-72B-Instruct@main")})
    (notice,) = (one for one in notices(related, PASSED) if one.kind == "warning")
    assert notice.text.startswith("judge tiny is of the family of qwen-0.5b, which it judges (Qwen).")


def test_checks_that_the_base_model_always_or_never_keeps_are_named():
    def rate(check: str, value: float, iteration: int = -1) -> dict:
        method = "base" if iteration < 0 else "drift"
        return score("", f"pass_rate:{check}", value=value) | {"iteration": iteration, "method": method, "benchmark": "wishes"}

    rows = [rate("no_list", 1.0), rate("words(at_most=2)", 0.0), rate("sentences", 0.4), rate("sentences", 1.0, iteration=1)]
    never, always = (notice.text for notice in check_notices(rows))
    assert never == "The base model's answers never keep wishes: words(at_most=2): they seldom teach or show anything."
    assert always == "The base model's answers always keep wishes: no_list: they cannot show an improvement."
    assert check_notices(rows[2:]) == []


def test_failed_gates_are_a_notice():
    policy = Policy("m", "drift", 1, 42)
    gates = GateSummary([Gate(policy, "one_bos", False, "3 prompts"), Gate(policy, "finite", True, "")])
    assert [gate.name for gate in gates.failed] == ["one_bos"]
    (notice,) = (one for one in notices(CONFIG, gates) if one.kind == "failure")
    assert notice.text.startswith("1 of 2 correctness gates failed")


def test_gates_of_a_run_are_listed_by_policy(catalog):
    from drift.report.gate_tables import gate_summary

    gates = gate_summary(catalog, CONFIG)
    assert (gates.total, gates.failed) == (5 * 4, [])
    assert [(policy.method, policy.iteration) for policy in gates.by_policy][:2] == [("warmup", 0), ("drift", 1)]


def test_a_policy_that_shows_little_of_its_training_is_named():
    base, warmup = PolicyCost(Policy("m", "base", -1, 0)), PolicyCost(Policy("m", "warmup", 0, 0), served_share=0.125)
    first, second = (PolicyCost(Policy("m", "drift", k, 42), served_share=share) for k, share in ((1, 0.25), (2, 0.9)))
    (notice,) = rounding_notices([base, warmup, first, second], CONFIG)
    assert (
        "less than 50.0% of what a training did shows in the warm-up (12.5%), drift iteration 1 (25.0%). Scores" in notice.text
    )
    assert rounding_notices([base, second], CONFIG) == []


def test_several_judges_of_a_benchmark_are_named():
    rows = [score("huge", value=0.7), score("tiny"), score("", "response_tokens", value=100)]
    (notice,) = judge_notices(rows, {})
    assert notice.title == "Several judges"
    assert notice.text.startswith("heldout was judged by huge and by tiny.")


def test_a_judge_without_probabilities_is_named():
    (notice,) = judge_notices([score("tiny", "written_win_rate")], {})
    assert notice.title == "Letters without probabilities"
    assert notice.text.startswith("tiny gives no probabilities for heldout")


def test_withheld_scores_are_a_failure():
    (notice,) = judge_notices([], {("heldout", "tiny"): "why"})
    assert (notice.title, notice.text, notice.kind) == ("Scores withheld", "why", "failure")


def test_what_one_method_has_of_its_own_is_a_fact():
    assert not [name for name, _ in facts(CONFIG) if name.endswith("alone")]
    own = {"sampling": {"temperature": 1.0}, "training": {"losses": {"sigmoid": 1.0}, "epochs": 2}}
    values = CONFIG.model_dump(mode="json")
    values["recipes"]["spin"] |= own
    resolved = Config.model_validate(load(values))
    assert resolved.recipes["spin"].training.beta == 0.1, "the resolved row has every key"
    for config in (Config.model_validate(values), resolved):
        assert dict(facts(config))["Of spin alone"] == ["temperature 1.0", "losses {'sigmoid': 1.0}", "epochs 2"]


def test_facts_and_versions_of_a_run(catalog):
    shown = dict(facts(CONFIG))
    assert shown["Sources"] == ["wildchat (wildchat)"]
    assert shown["Labels"] == ["rules (lexical heuristic)"]
    assert shown["Training"][:2] == ["beta 0.1", "learning_rate 5e-07"]
    assert versions(catalog, CONFIG) == [("torch", "2.8.0"), ("trl", "0.24.0")]
