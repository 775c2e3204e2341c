"""What a run may set: every key, its type, its default and its meaning.

The defaults are the paper's values where it gives them. The JSON schema that editors use
(config.schema.json) is generated from these classes: `make schema`.
"""

from drift.config.base import Allusions, ConfigError, Model, Section, kind_of, unknown
from drift.config.data import (
    CorrectionAllusions,
    Data,
    Decontamination,
    Filters,
    Labeler,
    LabelFile,
    LabelNoise,
    Simulation,
    Source,
)
from drift.config.endpoint import Endpoint
from drift.config.evaluation import Benchmark, Evaluation, Judge
from drift.config.exploration import Embedder, Exploration
from drift.config.overrides import effective
from drift.config.recipes import LIKELIHOOD, SELF, Ranker, Recipe, is_unpaired, pools_of, warms_up
from drift.config.run import Config, Engine, load
from drift.config.training import Behaviour, Decoding, Diagnostics, Lora, PairQuality, Prompting, Sampling, Training

__all__ = [
    "LIKELIHOOD",
    "SELF",
    "Allusions",
    "Behaviour",
    "Benchmark",
    "Config",
    "ConfigError",
    "CorrectionAllusions",
    "Data",
    "Decoding",
    "Decontamination",
    "Diagnostics",
    "Embedder",
    "Endpoint",
    "Engine",
    "Evaluation",
    "Exploration",
    "Filters",
    "Judge",
    "LabelFile",
    "LabelNoise",
    "Labeler",
    "Lora",
    "Model",
    "PairQuality",
    "Prompting",
    "Ranker",
    "Recipe",
    "Sampling",
    "Section",
    "Simulation",
    "Source",
    "Training",
    "effective",
    "is_unpaired",
    "kind_of",
    "load",
    "pools_of",
    "unknown",
    "warms_up",
]
