"""What labelers that ask a model are asked."""

from drift.labelers.rubric_schema import RUBRIC_SCHEMA

# The labelers that ask a model.
RUBRICS = [name for name, row in config["data"]["labelers"].items() if row["kind"] == "rubric"]


def labeler_row(wildcards):
    """The configuration's row of a labeler."""
    return config["data"]["labelers"][wildcards.labeler]


labeler_model = generation.model(labeler_row, paths.labeler_policy, paths.labeler_manifest)


def labeler_asked(wildcards):
    """What is asked for a labeler's answers."""
    row = labeler_row(wildcards)
    return {"context": row["context"], "decoding": LABEL_DECODING, "schema": RUBRIC_SCHEMA, "endpoint": row["endpoint"]}


def labeler_requests(labeler):
    """What a rubric labeler's model is asked."""
    return f"{RESULTS}/data/labelers/{labeler}/requests.parquet"


def labeler_completions(labeler):
    """What it answers, by shard."""
    return shards(f"{RESULTS}/data/labelers/{labeler}", config["data"]["labelers"][labeler]["shards"])


# An answer is one line of JSON with a quote; the likeliest one, as a label is no matter of taste.
LABEL_DECODING = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 256}
