"""Settings of the two kinds of preflight checks: where snakemake runs, and inside a job."""

from typing import Literal

from pydantic import Field

from drift.config import Endpoint, Model
from drift.config.endpoint import BaseAddress
from drift.settings.base import Settings, like


class PlannedModel(Settings):
    """A model to improve, and how much comes of it."""

    path: str = like(Model, "path")
    policies: int = Field(description="policies that the run makes of it, the base model included")
    remainders: int = Field(description="of them, those with a remainder, which is as large (training.carry: fp32)")


class LoginSettings(Settings):
    """What is checked where snakemake runs."""

    partitions: list[str] = Field(description="Slurm partitions that the profile asks for; empty: it does not use Slurm")
    addresses: list[str] = Field(description="of every model and file that the configuration names")
    models: dict[str, PlannedModel] = Field(description="the models to improve, by name")
    related_judges: list[str] = Field(description="a sentence for each judge that is of the family of a model that it judges")


class AskedEndpoint(Settings):
    """An endpoint, as far as a job can check it."""

    url: BaseAddress = like(Endpoint, "url")
    model: str = like(Endpoint, "model")
    key: str | None = like(Endpoint, "key")


class NodeSettings(Settings):
    """What is checked inside a job."""

    kind: Literal["cpu", "gpu"] = Field(description="which environment the job uses")
    python: str = Field(description="interpreter of that environment")
    lock: str = Field(description="file with the packages that it should have")
    results: str = Field(description="folder of the run")
    gpus: int = Field(description="how many the job asked for")
    paths: list[str] = Field(description="local models and files that the node must see")
    endpoints: dict[str, AskedEndpoint] = Field(description="endpoints that the node must reach, by the name of their row")
