"""Settings of the stages that measure how much of what is worth writing each policy writes."""

from pydantic import Field

from drift.config import Embedder, Evaluation, Exploration
from drift.settings.base import Settings, like


class EmbedderSettings(Settings):
    """Of embedder.py: what is asked of an encoder and of a benchmark before any answer."""

    benchmark: str = like(Exploration, "benchmark")
    neighbours: int = like(Exploration, "neighbours")


class EmbedSettings(Settings):
    """Of embed.py: what is read of an answer."""

    max_length: int | None = like(Embedder, "max_length")


class EmbeddingCoverageSettings(Settings):
    """Of embedding_coverage.py."""

    bootstrap: int = like(Evaluation, "bootstrap")
    seed: int = Field(description="of all resampling and exchanging")


class LandscapeSettings(Settings):
    """Of landscape.py."""

    neighbours: int = like(Exploration, "neighbours")
    maps: int = like(Exploration, "maps")
    seed: int = Field(description="of all resampling and exchanging; maps have seeds of their own")
