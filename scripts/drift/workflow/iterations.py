"""What an iteration starts from, samples and is trained on.

A policy is named MODEL/base, MODEL/warmup or MODEL/METHOD/seedS/iterK. Rules know one that is
trained by its wildcards {model} and {trained} (warmup, METHOD/seedS/iterK); methods that take
`wildcards` are input functions or settings of rules. The warm-up is iteration 0: both sides of its
pairs are logged. All seeds share it, and each method repeats its iterations with every seed.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drift import plugins, sides
from drift.config import LIKELIHOOD, Recipe, effective, is_unpaired, pools_of, warms_up
from drift.config.training import accumulation_steps
from drift.layout import BASE, FUTURE_SUFFIX, WARMUP, PolicyName, shards
from drift.names import FUTURE, INITIAL, PREVIOUS, WRITER, Asked
from drift.settings.data import FreshSettings
from drift.settings.sampling import RequestsSettings
from drift.settings.training import (
    DiagnosticsSettings,
    MeasuredTraining,
    PaceSettings,
    PairsSettings,
    PolicyTraining,
    Sides,
    Subset,
    TrainingRun,
    TrainSettings,
)
from drift.workflow.arrivals import Arrivals
from drift.workflow.resources import gpus

# The warm-up's pairs are logged on both sides.
_WARMUP_RECIPE = Recipe(prompts="corrections", chosen="logged", rejected="logged", start=BASE).model_dump(mode="json")


# A ranking by likelihood compares two policies, and its agreement with the one before it three.
_RANKING_POLICIES = 3


def of_iteration(shares: list[float], iteration: int) -> float:
    """That of iteration 1, 2, ...; the last one holds for later ones."""
    return shares[min(iteration, len(shares)) - 1]


def _asked(wildcards) -> Asked:
    return getattr(wildcards, "asked", PREVIOUS)


class Iterations:
    """The iterations of a run, by its configuration and its `paths` (drift.layout.paths)."""

    def __init__(self, config: dict[str, Any], paths: SimpleNamespace):
        self.config, self.paths = config, paths
        self.arrivals = Arrivals(config, paths)

    # Policies

    def policies(self, model: str) -> list[str]:
        """The policies of a model in the order of their making, with the model's name in front."""
        numbers = range(1, self.config["iterations"] + 1)
        trained = [
            PolicyName(method, k, seed) for method in self.config["methods"] for seed in self.config["seeds"] for k in numbers
        ]
        return [f"{model}/{policy}" for policy in (BASE, *([WARMUP] if warms_up(self.config) else []), *trained)]

    @property
    def future_methods(self) -> list[str]:
        """The names by which methods make the policies of the future that they ask."""
        return [
            f"{method}{FUTURE_SUFFIX}"
            for method in self.config["methods"]
            if any(sides.asked_of(kind) == FUTURE for kind in self.config["recipes"][method]["candidates"])
        ]

    def seed(self, trained: str) -> int:
        """What a policy is sampled and trained with: its own seed, and for the warm-up, which all
        seeds share, that of the data."""
        return PolicyName.parse(trained).seed or self.config["data"]["seed"]

    def recipe(self, trained: str) -> dict[str, Any]:
        """The row of `recipes` behind a policy; the warm-up's pairs are logged on both sides. A
        policy of the future is its method's without the candidates that it will be asked for."""
        if trained == WARMUP:
            return _WARMUP_RECIPE
        name = PolicyName.parse(trained)
        method = name.method
        row = self.config["recipes"][method.removesuffix(FUTURE_SUFFIX)]
        if row["mix"]:
            share = of_iteration(row["mix"]["shares"], name.iteration)
            row = row | {
                "mix": {"side": row["mix"]["side"], "share": share, "seed": self.config["data"]["seed"]} if share else None
            }
        if method.endswith(FUTURE_SUFFIX):
            return row | {"candidates": [kind for kind in row["candidates"] if sides.asked_of(kind) != FUTURE]}
        return row

    def training(self, trained: str) -> dict[str, Any]:
        """Section `training` as it is for a policy's method; of the warm-up the run's."""
        return effective(self.config, "training", self.recipe(trained))

    def sampling(self, trained: str) -> dict[str, Any]:
        """Section `sampling`, likewise."""
        return effective(self.config, "sampling", self.recipe(trained))

    def initial(self, trained: str) -> str:
        """The policy that the method starts from; of the warm-up the base model."""
        return self.recipe(trained)["start"]

    def previous(self, trained: str) -> str:
        """The policy that this one is sampled from and trained from."""
        name = PolicyName.parse(trained)
        if name.iteration <= 1:
            return self.initial(trained)
        return str(replace(name, method=name.method.removesuffix(FUTURE_SUFFIX), iteration=name.iteration - 1))

    def future(self, trained: str) -> str:
        """The policy of the future that an iteration asks before it trains its own."""
        name = PolicyName.parse(trained)
        return str(replace(name, method=name.method + FUTURE_SUFFIX))

    def reference(self, trained: str) -> str:
        """The policy that is the reference in training."""
        return {"previous": self.previous, "initial": self.initial}[self.training(trained)["reference"]](trained)

    def ancestors(self, trained: str) -> list[str]:
        """A policy, the one that its iteration started from, and the one that its method started
        from."""
        return [trained, self.previous(trained), self.initial(trained)]

    # Sampling

    def model_row(self, wildcards) -> dict[str, Any]:
        """The row of a model to improve."""
        return self.config["models"][wildcards.model]

    def samples(self, trained: str) -> dict[Asked, dict[str, int]]:
        """How many replies of each kind (plain, guided) are sampled for a prompt, by the policy
        that is asked; empty where both sides are logged. Where a policy of the future is asked, the
        others were for its own pairs."""
        asked = sides.samples(self.recipe(trained), self.sampling(trained)["n"])
        return {FUTURE: asked[FUTURE]} if FUTURE in asked else asked

    def requested(self, wildcards) -> dict[str, int]:
        """The same of one policy: {asked}, or the previous one where a job has no such wildcard."""
        return self.samples(wildcards.trained).get(_asked(wildcards), {})

    def sampled_sides(self, wildcards) -> tuple[Path, ...]:
        """The plug-ins that an iteration's requests are made by, for the fingerprint of rule
        requests."""
        return tuple(plugins.source_of(plugins.SIDES, kind) for kind in self.requested(wildcards))

    def asked_policy(self, wildcards) -> str:
        """The folder of the policy that requests are put to."""
        return self._policy(wildcards.model, self._answering(wildcards))

    def asked_manifest(self, wildcards) -> str:
        """Its policy.json."""
        return self._manifest(wildcards.model, self._answering(wildcards))

    def _answering(self, wildcards) -> str:
        policies = {PREVIOUS: self.previous, INITIAL: self.initial, FUTURE: self.future}
        return policies[_asked(wildcards)](wildcards.trained)

    def paired_sides(self, wildcards) -> tuple[Path, ...]:
        """The plug-ins that both sides of an iteration's pairs come from, for that of rule
        pairs."""
        return tuple(plugins.source_of(plugins.SIDES, name) for name in sides.of(self.recipe(wildcards.trained)))

    def prompts(self, wildcards) -> str:
        """The fitted prompts of an iteration."""
        return self.arrivals.prompts(wildcards.model, wildcards.trained, self.recipe(wildcards.trained)["prompts"])

    def _samplings(self, wildcards) -> Iterator[tuple[str, dict[str, str]]]:
        """Of each policy that an iteration asks, the folder of layout.py and the wildcards in
        it."""
        for asked in self.samples(wildcards.trained):
            trained = wildcards.trained
            if asked == WRITER:  # what it writes does not change with the policy: the first iteration of its prompts asks
                name = PolicyName.parse(trained)
                trained = str(replace(name, iteration=self.arrivals.newest(name.iteration)))
            folder = "sampling" if asked == PREVIOUS else "sampling_of"
            yield folder, {"asked": asked, "model": wildcards.model, "trained": trained}

    def requests(self, wildcards) -> list[str]:
        """The requests of an iteration, a table a policy that is asked; none where both sides are
        logged."""
        return [getattr(self.paths, f"{folder}_requests").format(**named) for folder, named in self._samplings(wildcards)]

    def sampled(self, wildcards) -> dict[str, list[str]]:
        """These requests, and the shards of the answers to all of them."""
        count = self.config["sampling"]["shards"]
        completions = [
            path
            for folder, named in self._samplings(wildcards)
            for path in shards(getattr(self.paths, f"{folder}_completions"), count, **named)
        ]
        return {"requests": self.requests(wildcards), "completions": completions}

    def paired(self, wildcards) -> dict[str, list[str]]:
        """What was sampled for an iteration's pairs: by the iteration, and by that of its future
        policy."""
        jobs = self._sampling_jobs(wildcards)
        return {name: [path for job in jobs for path in self.sampled(job)[name]] for name in ("requests", "completions")}

    def _sampling_jobs(self, wildcards) -> list[SimpleNamespace]:
        own = SimpleNamespace(model=wildcards.model, trained=wildcards.trained)
        if FUTURE not in self.samples(wildcards.trained):
            return [own]
        return [SimpleNamespace(model=wildcards.model, trained=self.future(wildcards.trained)), own]

    def ranks(self, wildcards) -> list[str]:
        """The scores of the candidates of an iteration's pairs, by a reward model or by a judge;
        none where nothing is ranked."""
        jobs = self._sampling_jobs(wildcards)
        return [self._ranks(job) for job in jobs] if self.recipe(wildcards.trained)["rank"] else []

    def _ranks(self, wildcards) -> str:
        ranker = self.recipe(wildcards.trained)["rank"]
        pattern = self.paths.rewards if ranker in self.config["rankers"] else self.paths.judge_scores
        if ranker == LIKELIHOOD:
            pattern = self.paths.implied_rewards
        return pattern.format(model=wildcards.model, trained=wildcards.trained)

    def agreement(self, wildcards) -> str | list[str]:
        """How far two rankings of an iteration's candidates agree; none where one ranker ranks."""
        if self.recipe(wildcards.trained)["rank"] != LIKELIHOOD:
            return []
        return self.paths.rank_agreement.format(model=wildcards.model, trained=wildcards.trained)

    def ranking_policies(self, wildcards) -> list[str]:
        """The folders of the policies whose likelihoods rank an iteration's candidates."""
        return [self._policy(wildcards.model, policy) for policy in self._before(wildcards.trained)]

    def ranking_manifests(self, wildcards) -> list[str]:
        """Their policy.json."""
        return [self._manifest(wildcards.model, policy) for policy in self._before(wildcards.trained)]

    def ranking_remainders(self, wildcards) -> list[str]:
        """The folders of their remainders; the base model, which has none, is the last."""
        return self._remainders(wildcards.model, self._before(wildcards.trained))

    def _before(self, trained: str) -> list[str]:
        """The policies before an iteration's own, the nearest first, as far as two rankings need
        them."""
        policies = [self.previous(trained)]
        while policies[-1] != BASE and len(policies) < _RANKING_POLICIES:
            policies.append(self.previous(policies[-1]))
        return policies

    # Training

    def losses(self, wildcards) -> tuple[Path, ...]:
        """The plug-ins among a policy's losses and its trainer, for the fingerprint of rule
        train."""
        losses = self.training(wildcards.trained)["losses"]
        own = sorted(plugins.LOSSES.keys() & losses)
        trainer = plugins.source_of(plugins.TRAINERS, plugins.trainer_of(losses))
        return *(plugins.source_of(plugins.LOSSES, loss) for loss in own), trainer

    def rows(self, wildcards) -> str:
        """What an iteration is trained on: pairs, or single replies."""
        pattern = self.paths.unpaired if is_unpaired(self.recipe(wildcards.trained)) else self.paths.pairs
        return pattern.format(model=wildcards.model, trained=wildcards.trained)

    def replay(self, wildcards) -> list[str]:
        """Pairs of earlier iterations that are trained on again, the nearest iteration first."""
        name = PolicyName.parse(wildcards.trained)
        oldest = max(1, name.iteration - self.recipe(wildcards.trained)["replay"])
        return [
            self.paths.pairs.format(model=wildcards.model, trained=replace(name, iteration=earlier))
            for earlier in range(name.iteration - 1, oldest - 1, -1)
        ]

    def gate_prompts(self, wildcards) -> list[str]:
        """The fitted prompts that the gates of a training compare its pairs with: its own, and all
        that have a test split, which are those of the start."""
        pools, model = pools_of(self.recipe(wildcards.trained)), wildcards.model
        held_out = [self.paths.prompts.format(model=model, table=table) for table in sorted({"dsat", "corrections", *pools})]
        own = [self.arrivals.prompts(model, wildcards.trained, pool) for pool in pools]
        return list(dict.fromkeys([*held_out, *own]))

    def start_policy(self, wildcards) -> str:
        """The folder of the policy that an iteration is sampled from and trained from."""
        return self._policy(wildcards.model, self.previous(wildcards.trained))

    def start_manifest(self, wildcards) -> str:
        """Its policy.json."""
        return self._manifest(wildcards.model, self.previous(wildcards.trained))

    def reference_policy(self, wildcards) -> str:
        """The folder of the policy that is the reference in training."""
        return self._policy(wildcards.model, self.reference(wildcards.trained))

    def reference_manifest(self, wildcards) -> str:
        """Its policy.json."""
        return self._manifest(wildcards.model, self.reference(wildcards.trained))

    def start_remainder(self, wildcards) -> str | list[str]:
        """The folder of the remainder of the policy that an iteration starts from."""
        return self._remainder(wildcards.model, self.previous(wildcards.trained))

    def reference_remainder(self, wildcards) -> str | list[str]:
        """That of the reference."""
        return self._remainder(wildcards.model, self.reference(wildcards.trained))

    def measured_remainders(self, wildcards) -> list[str]:
        """Those of a policy and of the one that its iteration started from."""
        return self._remainders(wildcards.model, self.ancestors(wildcards.trained)[:2])

    def _remainders(self, model: str, policies: list[str]) -> list[str]:
        return [folder for policy in policies if (folder := self._remainder(model, policy))]

    def ancestor_policies(self, wildcards) -> list[str]:
        """The folders of `ancestors`."""
        return [self._policy(wildcards.model, policy) for policy in self.ancestors(wildcards.trained)]

    def ancestor_manifests(self, wildcards) -> list[str]:
        """The policy.json of each of `ancestors`."""
        return [self._manifest(wildcards.model, policy) for policy in self.ancestors(wildcards.trained)]

    def _policy(self, model: str, policy: str) -> str:
        return self.paths.policy.format(model=model, policy=policy)

    def _remainder(self, model: str, policy: str) -> str | list[str]:
        """None of the base model: it is all there is, in its own precision."""
        return self.paths.remainder.format(model=model, trained=policy) if policy != BASE else []

    def _manifest(self, model: str, policy: str) -> str:
        return self.paths.manifest.format(model=model, policy=policy)

    # Settings of the stages, as the rules pass them on

    def requests_settings(self, wildcards) -> str:
        """Of rule requests."""
        name = PolicyName.parse(wildcards.trained)
        return RequestsSettings.of(
            self.config["prompting"],
            seed=self.seed(wildcards.trained),
            unit=f"{name.method}/iter{name.iteration}",
            split="train",
            samples=self.requested(wildcards),
            fresh=self._fresh(wildcards),
        ).canonical()

    def pairs_settings(self, wildcards) -> str:
        """Of rule pairs."""
        # The corrections are few, and the warm-up is the same for all methods.
        pairs = None if wildcards.trained == WARMUP else self.config["training"]["pairs"]
        return PairsSettings.of(
            self.config["prompting"],
            self.training(wildcards.trained),
            self.sampling(wildcards.trained),
            lineage=f"{wildcards.model}/{wildcards.trained}",
            recipe=Sides.of(self.recipe(wildcards.trained)),
            subset=pairs and Subset(pairs=pairs, seed=self.config["data"]["seed"]),
            fresh=self._fresh(wildcards),
        ).canonical()

    def _fresh(self, wildcards) -> FreshSettings | None:
        return self.arrivals.fresh(wildcards.model, wildcards.trained, self.recipe(wildcards.trained).get("fresh"))

    def train_settings(self, wildcards) -> str:
        """Of rule train."""
        training, name = self.training(wildcards.trained), PolicyName.parse(wildcards.trained)
        pacing = training["pacing"] if name.iteration else None
        return TrainSettings.of(
            self.config["prompting"],
            name=f"{wildcards.model}/{wildcards.trained}",
            seed=self.seed(wildcards.trained),
            epochs=training["warmup_epochs" if wildcards.trained == WARMUP else "epochs"],
            pace=pacing and PaceSettings.of(pacing, self.config["data"], share=of_iteration(pacing["shares"], name.iteration)),
            label_weights=training["label_weights"] if plugins.trainer_of(training["losses"]) == "kto" else None,
            training=PolicyTraining.of(training),
        ).canonical()

    def diagnostics_settings(self, wildcards) -> str:
        """Of rule diagnostics."""
        training = self.training(wildcards.trained)
        return DiagnosticsSettings.of(
            training["diagnostics"],
            seed=self.config["data"]["seed"],
            reference=training["reference"],
            training=MeasuredTraining.of(training),
        ).canonical()

    def training_run(self, wildcards, resources) -> str:
        """How a training runs in a job with these `resources`, which changes no result. Snakemake
        does not compare params that depend on resources.

        Raises ValueError where the job's GPUs cannot share a step's pairs.
        """
        training = self.training(wildcards.trained)
        processes = training["processes"] or gpus(resources)
        accumulation_steps(training["global_batch"], training["device_batch"], processes or 1)
        return TrainingRun.of(training, processes=processes, deadline=resources.get("runtime")).canonical()
