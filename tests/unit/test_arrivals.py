"""Which data an iteration learns from: where its prompts are, what they are made of, and by which
share the newest ones are taken."""

import json
from types import SimpleNamespace

import pytest

from drift import layout
from drift.config import Config, load
from drift.layout import LaterData, PolicyName
from drift.settings.data import FreshSettings
from drift.workflow.arrivals import Arrivals
from drift.workflow.data import Labelers, Pools, Sources
from drift.workflow.iterations import Iterations
from drift.workflow.report import ReportInputs
from drift.workflow.simulation import Simulations
from tests.builders.configurations import minimal, refusal

PATHS = layout.paths("results/small")
DATA = minimal()["data"]
CHATS = DATA["sources"]["chats"]
USERS = {"kind": "simulated", "path": "wishes.jsonl", "simulation": {"path": "/models/llama", "deployed": "previous"}}
OWN = "llama/drift/seed42/iter{}/data"


def config(recipe: dict | None = None, iterations: int = 4, **sources: dict) -> dict:
    """A configuration of one method with these sources besides that of the start."""
    values = minimal(iterations=iterations, data=DATA | {"sources": {"chats": CHATS} | sources})
    values["recipes"]["drift"] |= recipe or {}
    return load(values)


def march(iteration: int) -> dict:
    return {"kind": "logs", "path": "/march.jsonl", "from_iteration": iteration}


def trained(k: int, method: str = "drift") -> str:
    return f"{method}/seed42/iter{k}"


def job(**wildcards: str) -> SimpleNamespace:
    return SimpleNamespace(model="llama", **wildcards)


def test_without_later_sources_everything_is_where_it_was():
    arrivals = Arrivals(config(), PATHS)
    assert {arrivals.prompts("llama", name, "dsat") for name in ("warmup", trained(1), trained(4))} == {
        "results/small/llama/prompts/dsat.parquet"
    }
    assert arrivals.learned_from("llama") == []
    assert [source.name for source in arrivals.sources(None)] == ["chats"]
    assert Pools(config(), PATHS).settings(job()).count('"arrivals": {}') == 1


def test_an_iteration_reads_the_data_of_all_sources_that_count_by_then():
    arrivals = Arrivals(config(march=march(2), april=march(4)), PATHS)
    folders = [arrivals.of("llama", trained(k)) for k in range(1, 5)]
    assert folders == [None, LaterData(2), LaterData(2), LaterData(4)]
    assert [str(folder) for folder in folders[1:]] == ["data/iter2", "data/iter2", "data/iter4"]
    assert arrivals.of("llama", "warmup") is None
    assert [source.name for source in arrivals.sources("data/iter2")] == ["chats", "march"]
    assert [source.name for source in arrivals.sources("data/iter4")] == ["chats", "march", "april"]
    assert arrivals.prompts("llama", trained(3), "sat") == "results/small/data/iter2/prompts/llama/sat.parquet"


def test_where_users_talk_to_policies_the_data_are_those_of_a_method_and_seed():
    arrivals = Arrivals(config(users=USERS), PATHS)
    assert arrivals.of("llama", trained(1)) is None, "before iteration 1 they talk to the model of the source"
    own = arrivals.of("llama", trained(3))
    assert (str(own), own.policy) == (OWN.format(3), PolicyName("drift", 3, 42))
    sources = arrivals.sources(str(own))
    assert [(source.name, source.iteration, source.later) for source in sources] == [
        ("chats", 1, None),
        ("users", 1, None),
        ("users@2", 2, OWN.format(2)),
        ("users@3", 3, OWN.format(3)),
    ]
    assert arrivals.of("llama", "drift.future/seed42/iter3") == own, "a policy of the future learns from the same"


@pytest.mark.parametrize("folder", ["data/iter2", "llama/drift/seed7/iter3/data"])
def test_the_folder_of_later_data_says_whose_they_are(folder):
    assert str(LaterData.parse(folder)) == folder


@pytest.mark.parametrize("folder", ["data", "data/iter0", "llama/base/data", "llama/drift/data"])
def test_another_folder_is_none_of_later_data(folder):
    with pytest.raises(ValueError, match="neither base, warmup nor"):
        LaterData.parse(folder + "/x")


def test_the_newest_data_are_those_of_the_last_arrival():
    sources = {"march": march(2), "april": march(4)}
    arrivals = Arrivals(config({"fresh": 0.5}, **sources), PATHS)
    newest = [fresh and fresh.sources for k in range(1, 5) for fresh in [arrivals.fresh("llama", trained(k), 0.5)]]
    assert newest == [None, ["march"], ["march"], ["april"]]
    asked = Iterations(config({"fresh": 0.5}, **sources), PATHS)
    for settings in (asked.requests_settings, asked.pairs_settings):
        written = json.loads(settings(job(trained=trained(4))))["fresh"]
        assert written == FreshSettings(share=0.5, sources=["april"], seed=42).model_dump()
        assert json.loads(settings(job(trained=trained(1))))["fresh"] is None


def test_a_method_without_fresh_pairs_stays_with_the_data_of_the_start():
    arrivals = Arrivals(config({"fresh": 0.0}, users=USERS), PATHS)
    assert arrivals.prompts("llama", trained(4), "dsat") == "results/small/llama/prompts/dsat.parquet"
    assert arrivals.learned_from("llama") == []


def test_the_gates_compare_later_pairs_with_the_held_out_rows_of_the_start():
    prompts = Iterations(config(march=march(2)), PATHS).gate_prompts(job(trained=trained(2)))
    assert prompts == [
        "results/small/llama/prompts/corrections.parquet",
        "results/small/llama/prompts/dsat.parquet",
        "results/small/data/iter2/prompts/llama/dsat.parquet",
    ]


def test_a_writer_writes_again_for_prompts_that_came_later():
    values = minimal(iterations=4, data=DATA | {"sources": {"chats": CHATS, "march": march(3)}})
    values["recipes"]["drift"] |= {"chosen": "written", "writer": "llama"}
    asked = Iterations(load(values), PATHS)
    requests = [asked.requests(job(trained=trained(k)))[0] for k in range(1, 5)]
    assert [path.removeprefix("results/small/llama/") for path in requests] == [
        f"{trained(k)}/of/writer/requests.parquet" for k in (1, 1, 3, 3)
    ]


def test_turns_of_later_data_read_what_users_said_to_each_policy_so_far():
    sources = Sources(config(users=USERS), PATHS, str)
    later = job(later=OWN.format(3))
    assert sources.paths(later) == {
        "chats": "/logs.jsonl",
        "users": "results/small/data/simulated/users/conversations.jsonl",
        **{f"users@{k}": f"results/small/{OWN.format(k)}/simulated/users/conversations.jsonl" for k in (2, 3)},
    }
    told = json.loads(sources.settings(later))["sources"]
    assert {name: row["from_iteration"] for name, row in told.items()} == {"chats": 1, "users": 1, "users@2": 2, "users@3": 3}
    assert sources.paths(job()) == {name: path for name, path in sources.paths(later).items() if "@" not in name}


def test_users_talk_to_the_policy_that_the_iteration_starts_from_and_their_chances_are_new():
    simulations = Simulations(config(users=USERS), PATHS, pinned=str)
    second, third = (job(source="users", later=OWN.format(k)) for k in (2, 3))
    assert simulations.policy(third)["policy"] == "results/small/llama/drift/seed42/iter2/policy"
    assert simulations.first(third)["requests"] == f"results/small/{OWN.format(3)}/simulated/users/first/requests.parquet"
    names = [json.loads(simulations.settings(one))["source"] for one in (job(source="users"), second, third)]
    assert names == ["users", "users@2", "users@3"]


def test_a_policy_answers_here_where_the_first_deployment_was_behind_an_endpoint():
    endpoint = {"url": "http://localhost:1/v1", "model": "m"}
    users = USERS | {"simulation": {"endpoint": endpoint, "deployed": "previous"}}
    simulations = Simulations(config(users=users), PATHS, pinned=str)
    assert simulations.asked(job(source="users"))["endpoint"]["model"] == "m"
    assert simulations.asked(job(source="users", later=OWN.format(2)))["endpoint"] is None


def test_labelers_are_asked_about_later_data_in_their_folder():
    rows = {"near": {"kind": "rubric", "path": "p"}}
    labelers = Labelers(config(march=march(2)) | {"data": {"labelers": _labelers(rows)}}, PATHS)
    assert labelers.requests(job(later="data/iter2")) == {"near": "results/small/data/iter2/labelers/near/requests.parquet"}


def _labelers(rows: dict) -> dict:
    return load(minimal(data=DATA | {"labelers": DATA["labelers"] | rows}))["data"]["labelers"]


def test_later_data_have_a_part_in_the_ledger_and_are_looked_at_for_benchmarks():
    values = config(march=march(2))
    values["evaluation"]["benchmarks"]["late"] = values["evaluation"]["benchmarks"]["heldout"] | {"keep_out": False}
    inputs = ReportInputs(values, PATHS, ["llama/base"])
    assert inputs.later_ledgers == {
        f"results/small/data/iter2/ledgers/{stage}.parquet": "data/iter2" for stage in ("turns", "labels", "pools")
    }
    assert "results/small/data/iter2/prompts/llama/dsat.ledger.parquet" in inputs.ledgers(None)
    assert inputs.contamination(None)[-1] == "results/small/data/iter2/contamination/late.parquet"


@pytest.mark.parametrize(
    ("recipe", "sources", "iterations", "message"),
    [
        ({}, {"march": march(5)}, 4, "data.sources.march.from_iteration 5, but there are iterations: 4; raise iterations"),
        ({"fresh": 1.0}, {}, 4, "recipes.drift.fresh: no data come after the start; give a source from_iteration: 2"),
        ({"fresh": 1.5}, {"march": march(2)}, 4, "recipes.drift.fresh: Input should be less than or equal to 1"),
        ({}, {"chats": CHATS | {"from_iteration": 2}}, 4, "iteration 1 has none, as all have from_iteration above 1"),
        ({}, {"march": march(0)}, 4, "data.sources.march.from_iteration: Input should be greater than or equal to 1"),
        ({}, {"march": march(2) | {"from_iteratoin": 3}}, 4, "did you mean 'from_iteration'"),
    ],
)
def test_what_cannot_come_in_time_is_refused_with_a_cure(recipe, sources, iterations, message):
    values = minimal(iterations=iterations, data=DATA | {"sources": {"chats": CHATS} | sources})
    values["recipes"]["drift"] |= recipe
    assert message in refusal(values)


def test_labels_made_elsewhere_are_of_the_data_of_the_start():
    files = {"people": {"path": "p.jsonl", "source": "march"}}
    values = minimal(iterations=4, data=DATA | {"sources": {"chats": CHATS, "march": march(2)}, "label_files": files})
    assert "label_files.people.source: march counts from a later iteration" in refusal(values)


def test_the_last_arrival_is_two_at_least_where_users_talk_to_policies():
    def last(**sources) -> int:
        return Config.model_validate(
            minimal(iterations=4, data=DATA | {"sources": {"chats": CHATS} | sources})
        ).data.last_arrival

    assert (last(), last(users=USERS), last(users=USERS, march=march(3))) == (1, 2, 3)
