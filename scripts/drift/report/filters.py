"""What the page can be narrowed to without a script: classes of rows, which the style sheet hides
where their box is not ticked."""

from dataclasses import dataclass

from drift.config import Config
from drift.names import HELDOUT_PAIRS


@dataclass(frozen=True)
class Box:
    """A box to tick: the class of what it hides, and its label."""

    name: str
    label: str


@dataclass(frozen=True)
class Filters:
    """Boxes by what they choose; the classes of methods, iterations and benchmarks."""

    groups: dict[str, list[Box]]
    methods: dict[str, str]
    benchmarks: dict[str, str]

    def row(self, method: str, iteration: int) -> str:
        """The classes of a policy's row."""
        return " ".join(filter(None, [self.methods.get(method), f"i{iteration}" if iteration > 0 else ""]))

    @property
    def boxes(self) -> list[Box]:
        """All of them."""
        return [box for group in self.groups.values() for box in group]


def filters(config: Config) -> Filters:
    """The boxes of a run: none where there is nothing to choose from. Base model and warm-up are
    always shown."""
    methods = {name: f"m{place}" for place, name in enumerate(config.methods)}
    benchmarks = {name: f"b{place}" for place, name in enumerate([*config.evaluation.benchmarks, HELDOUT_PAIRS])}
    groups = {
        "Methods": [Box(name, label) for label, name in methods.items()],
        "Iterations": [Box(f"i{k}", str(k)) for k in range(1, config.iterations + 1)],
        "Evaluation sets": [Box(name, label) for label, name in benchmarks.items() if label != HELDOUT_PAIRS],
    }
    return Filters({title: boxes for title, boxes in groups.items() if len(boxes) > 1}, methods, benchmarks)
