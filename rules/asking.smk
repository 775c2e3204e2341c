"""Who is asked what, and how: judges of benchmarks, labelers, and the engines behind them and behind sampling."""

import hashlib

from drift.benchmarks import KINDS
from drift.chat import TRANSCRIPT_STOPS
from drift.config import SELF
from drift.judging.protocols import PAIRWISE, asked, judging
from drift.labelers.rubric_question import DECODING as LABEL_DECODING


def benchmark_context(benchmark):
    """Tokens that a benchmark's prompt and answer have together."""
    return config["evaluation"]["benchmarks"][benchmark]["context"] or config["sampling"]["context"]


def judges_of(benchmark):
    """Who judges a benchmark, in the order of the configuration."""
    named = config["evaluation"]["benchmarks"][benchmark]["judge"] or config["evaluation"]["judge"]
    return [named] if isinstance(named, str) else named


def judging_of(benchmark, judge):
    """How a judge judges a benchmark."""
    row = config["evaluation"]["benchmarks"][benchmark]
    return judging(row, config["evaluation"]["judges"][judge], KINDS[row["kind"]].JUDGING)


def trial_of(judge, benchmark):
    """The benchmark under whose name a judge is tried for this one: the first that it judges in the same way."""
    how = judging_of(benchmark, judge)
    return next(
        other for other in config["evaluation"]["benchmarks"] if judge in judges_of(other) and judging_of(other, judge) == how
    )


def trials():
    """Judge, benchmark, the folder of its verdicts on published answers, and what was published of these."""
    if config["evaluation"]["validation"] is None:
        return []
    return [
        (
            judge,
            benchmark,
            f"{RESULTS}/judges/{judge}/validation/{trial_of(judge, benchmark)}",
            published_folder(benchmark, judge),
        )
        for benchmark in config["evaluation"]["benchmarks"]
        for judge in judges_of(benchmark)
    ]


def published_folder(benchmark, judge):
    """Where the published answers of the kind that a judge is asked about lie."""
    kind = "pairwise" if judging_of(benchmark, judge)["verdict"] in PAIRWISE else "score"
    return f"{RESULTS}/eval/validation/{kind}"


def template_of(row, how):
    """The file with the judge prompt of a judge's row, and the hash of what it says."""
    path = Path(row["template"]) if row["template"] else SCRIPTS / "templates" / f"judge-{how['verdict']}.txt"
    try:
        return path, hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        (name,) = [name for name, other in config["evaluation"]["judges"].items() if other is row]
        raise WorkflowError(f"evaluation.judges.{name}.template: {path} cannot be read ({error.strerror})") from None


def judge_prompt(benchmark, judge):
    """The hash of what a judge is told about a benchmark."""
    return template_of(config["evaluation"]["judges"][judge], judging_of(benchmark, judge))[1]


def question_settings(row, how):
    """What shapes the questions to a judge, by its row and how it judges."""
    return settings(
        seed=config["seed"],
        context=row["context"],
        max_tokens=1 if how["verdict"] == "letter" else row["decoding"]["max_tokens"],
        judging=how,
        template_sha256=template_of(row, how)[1],
    )


def judge_row(wildcards):
    """The configuration's row of a judge."""
    return config["evaluation"]["judges"][wildcards.judge]


def judge_policy(judge):
    """Where the judge's model is. Only for a judge that runs here."""
    return model_folder(config["evaluation"]["judges"][judge]["path"], f"judges/{judge}")


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
    ranker = recipe_of(wildcards.trained)["rank"]
    return SELF_ROW if ranker == SELF else config["evaluation"]["judges"][ranker]


def ranking_answerer(wildcards):
    """What is read to ask that judge: the policy that wrote the candidates, or a judge's."""
    ranker = recipe_of(wildcards.trained)["rank"]
    folder = f"{wildcards.model}/{previous(wildcards.trained)}" if ranker == SELF else None
    row = ranking_judge(wildcards)
    return answerer(row, folder or (judge_policy(ranker) if row["path"] else None))


def ranking(judge):
    """How candidates are judged: each by itself."""
    return {"verdict": "score", "order": "random", "letters": ["A", "B"], "votes": judge["votes"]}


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
    if config["prompting"]["style"] == "paper" and "guided" in samples_of(trained):
        decoding["stop"] = TRANSCRIPT_STOPS
    return decoding
