"""Methods that train on logged replies one by one: which they are, and what rule unpaired is
told."""

from typing import Any

from drift import layout, plugins
from drift.config import is_unpaired
from drift.names import UNPAIRED_POOLS
from drift.settings.training import UnpairedSettings
from drift.workflow.iterations import Iterations


class Unpaired:
    """These methods of a run, by its configuration. Methods here that take wildcards take {model}
    and {trained} of a job."""

    def __init__(self, config: dict[str, Any], iterations: Iterations):
        self._config, self._iterations = config, iterations
        single = {name for name in config["methods"] if is_unpaired(config["recipes"][name])}
        # What {trained} is in the rule that makes pairs, and in the one that makes single replies:
        # both have tables of one name.
        paired = [*(name for name in config["methods"] if name not in single), *iterations.future_methods]
        self.paired = layout.trained_by(layout.one_of(paired))
        self.trained = layout.made_by(layout.one_of(single))

    def prompts(self, wildcards) -> dict[str, str]:
        """The fitted prompts of each pool."""
        arrivals = self._iterations.arrivals
        return {pool: arrivals.prompts(wildcards.model, wildcards.trained, pool) for pool in UNPAIRED_POOLS}

    def settings(self, wildcards) -> str:
        """Of rule unpaired."""
        training = self._iterations.training(wildcards.trained)
        pairs = self._config["training"]["pairs"]
        return UnpairedSettings.of(
            self._config["prompting"],
            training,
            self._config["sampling"],
            self._config["data"],
            lineage=f"{wildcards.model}/{wildcards.trained}",
            replies=pairs and 2 * pairs,
            hindsight=plugins.trainer_of(training["losses"]) == "sdpo",
        ).canonical()
