"""What the rules tell the engines: who answers, what shapes replies, and how an engine runs.

Whoever asks a model (iterations, benchmarks, judges, labelers, rankings) has a method that takes
the wildcards of a rule and returns what is asked for, as keyword arguments of
`generation_settings`: `benchmarks.asked`, `judges.asked`, ... A rule makes params of it:
`generation.settings(judges.asked)`.
"""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from drift import sides
from drift.names import WRITER
from drift.settings.sampling import (
    DecodingSettings,
    EndpointAddress,
    EndpointRuntime,
    EngineRuntime,
    GenerationSettings,
    RegisterSettings,
)
from drift.workflow.inputs import contents_of, located
from drift.workflow.iterations import Iterations

# A function of a rule's wildcards that returns keyword arguments of `generation_settings`.
Asked = Callable[[Any], dict[str, Any]]


class Generation:
    """Settings, runtime and inputs of generate.py, by a run's configuration and its `paths`.

    `pinned` marks an input whose new time stamp means nothing: snakemake's `ancient`.
    """

    def __init__(self, config: dict, paths: SimpleNamespace, iterations: Iterations, pinned: Callable[[str], str]):
        self._config, self._paths, self._iterations, self._pinned = config, paths, iterations, pinned
        # Models to improve by address; of two with the same one the first.
        self._registered = {row["path"]: name for name, row in reversed(config["models"].items())}

    def settings(self, asked: Asked) -> Callable[[Any], str]:
        """A param: the settings of generate.py for what is asked in a job."""
        return lambda wildcards: generation_settings(self._config["engine"]["backend"], **asked(wildcards)).canonical()

    def runtime(self, asked: Asked) -> Callable[[Any, Any], str]:
        """A param: how an engine runs here, and how its endpoint is asked, if it has one. Nothing
        of it changes a result, and Snakemake does not compare params that depend on resources."""

        def of_job(wildcards, resources) -> str:
            endpoint = asked(wildcards).get("endpoint")
            runtime = endpoint and EndpointRuntime.of(endpoint)
            return EngineRuntime.of(self._config["engine"], endpoint=runtime).canonical()

        return of_job

    def source(self, row: Callable[[Any], dict]) -> Callable[[Any], str]:
        """An input function: where the model of a row is before it is registered."""
        return lambda wildcards: self._pinned(located(row(wildcards)["path"]))

    def contents(self, row: Callable[[Any], dict]) -> Callable[[Any], str]:
        """A param: what lies there, if it is local."""
        return lambda wildcards: contents_of([row(wildcards)["path"]])

    def registration(self, row: Callable[[Any], dict], name: str) -> Callable[[Any], str]:
        """A param: the settings of register.py. `name` is a pattern, filled with wildcards."""
        return lambda wildcards: RegisterSettings.of(row(wildcards), name=name.format(**dict(wildcards.items()))).canonical()

    def model(self, row: Callable[[Any], dict], policy: str, manifest: str) -> Callable[[Any], dict]:
        """An input function: the model that answers, as `policy` (a folder) and `manifest`.

        `row` returns the row of the configuration with its path or endpoint; `policy` and
        `manifest` are the patterns of where it is registered.
        """
        return lambda wildcards: self.model_of(
            row(wildcards), policy.format(**dict(wildcards.items())), manifest.format(**dict(wildcards.items()))
        )

    def model_of(self, row: dict, policy: str, manifest: str) -> dict[str, str | list]:
        """The model of a `row`: the model to improve of the same address, if there is one, else the
        one that is registered as `policy`; nothing for a model behind an endpoint."""
        if row["endpoint"]:
            return {"manifest": [], "policy": []}
        if name := self._registered.get(row["path"]):
            policy, manifest = (
                pattern.format(model=name, policy="base") for pattern in (self._paths.policy, self._paths.manifest)
            )
        return {"manifest": manifest, "policy": self._pinned(policy)}

    def judge(self, name: str) -> dict[str, str | list]:
        """The model of a judge, a row of evaluation.judges, as `model_of` returns it."""
        policy, manifest = (pattern.format(judge=name) for pattern in (self._paths.judge_policy, self._paths.judge_manifest))
        return self.model_of(self._config["evaluation"]["judges"][name], policy, manifest)

    def sampled(self, wildcards) -> dict[str, str | list]:
        """The model that an iteration's requests are put to: a policy, or the writer of the
        method."""
        if wildcards.asked == WRITER:
            return self.judge(self._iterations.recipe(wildcards.trained)["writer"])
        policy = self._pinned(self._iterations.asked_policy(wildcards))
        return {"manifest": self._iterations.asked_manifest(wildcards), "policy": policy}

    def tokenizer(self, wildcards) -> str | list:
        """The folder with the tokenizer that requests are rendered with; none of a writer behind an
        endpoint."""
        if wildcards.asked == WRITER:
            return self.judge(self._iterations.recipe(wildcards.trained)["writer"])["policy"]
        return self._pinned(self._paths.base_policy.format(model=wildcards.model))

    def samples(self, wildcards) -> dict[str, Any]:
        """What is asked for an iteration's samples."""
        sampling = self._iterations.sampling(wildcards.trained)
        if getattr(wildcards, "asked", None) == WRITER:
            row = self._config["evaluation"]["judges"][self._iterations.recipe(wildcards.trained)["writer"]]
            return {"context": row["context"], "decoding": sampling, "endpoint": row["endpoint"]}
        stops = sides.stops(self._iterations.requested(wildcards), self._config["prompting"]["style"])
        return {"context": sampling["context"], "decoding": sampling | {"stop": stops}}


def generation_settings(
    backend: str,
    *,
    context: int,
    decoding: dict | None = None,
    choices: tuple[str, ...] | None = None,
    schema: dict | None = None,
    endpoint: dict | None = None,
) -> GenerationSettings:
    """The settings of generate.py.

    `backend` is of a model that runs here; `endpoint` the configuration's row of one that does not;
    `decoding` a section of the configuration with the keys of DecodingSettings, among others;
    `schema` a JSON schema, whose properties are in the order in which a reply has them.
    """
    return GenerationSettings(
        backend="openai" if endpoint else backend,
        # An endpoint knows its own context.
        context=None if endpoint else context,
        decoding=decoding and DecodingSettings.of(decoding),
        choices=choices and tuple(choices),
        json_schema=schema and json.dumps(schema),
        endpoint=endpoint and EndpointAddress.of(endpoint),
    )
