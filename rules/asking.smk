"""Who is asked what, and how: judges of benchmarks, labelers, and the engines behind them and behind sampling."""

from drift.chat import TRANSCRIPT_STOPS
from drift.config import SELF


def judge_policy(judge):
    """Where the judge's model is. Only for a judge that runs here."""
    return model_folder(config["evaluation"]["judges"][judge]["path"], f"judges/{judge}")


def judge_model(wildcards):
    """What is read to ask a judge: manifest and policy of its model; none for one behind an endpoint."""
    return answerer(judges.row(wildcards), judge_policy(wildcards.judge))


# The labelers that ask a model.
RUBRICS = [name for name, row in config["data"]["labelers"].items() if row["kind"] == "rubric"]


def labeler_row(wildcards):
    """The configuration's row of a labeler."""
    return config["data"]["labelers"][wildcards.labeler]


def labeler_policy(labeler):
    """Where a rubric labeler's model is. Only for a model that runs here."""
    return model_folder(config["data"]["labelers"][labeler]["path"], f"data/labelers/{labeler}")


def labeler_requests(labeler):
    """What a rubric labeler's model is asked."""
    return f"{RESULTS}/data/labelers/{labeler}/requests.parquet"


def labeler_completions(labeler):
    """What it answers, by shard."""
    return shards(f"{RESULTS}/data/labelers/{labeler}", config["data"]["labelers"][labeler]["shards"])


# An answer is one line of JSON with a quote; the likeliest one, as a label is no matter of taste.
LABEL_DECODING = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 256}

# How the policy itself is asked to score what it wrote.
SELF_ROW = {
    "path": None,
    "endpoint": None,
    "context": config["sampling"]["context"],
    "verdict": "score",
    "template": None,
    "votes": 1,
    "decoding": LABEL_DECODING,
    "min_verdicts": 0.0,
}


def ranking_judge(wildcards):
    """The row of the judge that scores an iteration's candidates."""
    ranker = iterations.recipe(wildcards.trained)["rank"]
    return SELF_ROW if ranker == SELF else config["evaluation"]["judges"][ranker]


def ranking_answerer(wildcards):
    """What is read to ask that judge: the policy that wrote the candidates, or a judge's."""
    ranker = iterations.recipe(wildcards.trained)["rank"]
    folder = f"{wildcards.model}/{iterations.previous(wildcards.trained)}" if ranker == SELF else None
    row = ranking_judge(wildcards)
    return answerer(row, folder or (judge_policy(ranker) if row["path"] else None))


def generation(*, context, decoding=None, choices=None, schema=None, endpoint=None):
    """The settings of `generate`: who answers, and how. `endpoint` is a configuration's row, or null for a model that runs
    here."""
    return settings(
        backend="openai" if endpoint else config["engine"]["backend"],
        # An endpoint minds its context itself.
        context=None if endpoint else context,
        decoding=decoding,
        choices=choices,
        schema=schema,
        endpoint=endpoint and {key: endpoint[key] for key in ("url", "model")},
    )


def engine(endpoint=lambda wildcards: None):
    """The param that says how an engine runs here, and how its endpoint, if it has one, is to be treated. None of it changes
    a result: Snakemake does not compare params that depend on resources."""
    return lambda wildcards, resources: settings(**config["engine"], endpoint=endpoint(wildcards))


def answerer(row, folder):
    """What is read to ask `row`: manifest and policy of the model that is laid out in `folder` of the results;
    none for an endpoint."""
    if row["endpoint"]:
        return {"manifest": [], "policy": []}
    return {"manifest": f"{RESULTS}/{folder}/policy.json", "policy": ancient(f"{RESULTS}/{folder}/policy")}


# What `generate` is told about sampling; the rest of `sampling` shapes other stages.
DECODING = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens")


def sampling_of(trained):
    """The decoding of a policy's samples. A reply to a transcript ends where it begins another turn."""
    decoding = {key: config["sampling"][key] for key in DECODING}
    if config["prompting"]["style"] == "paper" and "guided" in iterations.samples(trained):
        decoding["stop"] = TRANSCRIPT_STOPS
    return decoding
