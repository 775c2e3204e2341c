"""Settings of the stages that turn raw conversations into pools."""

from drift.config import Decontamination
from drift.settings.base import Settings, like


class ContaminationSettings(Settings):
    """Of contamination.py: when a training row holds a benchmark's prompt."""

    ngram: int | None = like(Decontamination, "ngram")
    similarity: float | None = like(Decontamination, "similarity")
