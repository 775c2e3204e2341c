"""What a recipe may set for its method alone: keys of `training` and of `sampling`.

The keys are those of the sections themselves, whatever these come to have, less the ones that have
to be the same for every method of a run.
"""

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, create_model, model_serializer, model_validator

from drift.config.base import Section
from drift.config.training import Sampling, Training

_JOB = "it says how a job runs on this machine, not what a method is: set training.{} for all of them"
_FITTED = "prompts are fitted once, for all methods of a run, so that these are compared on the same prompts and lengths"
_GATE = "what a gate lets pass is the same for every method of a run"
_MEASURED = "methods are compared by these measures, so that they are the same for each"

# The mark of overrides in the JSON schema: their keys are described where the section is.
OVERRIDES = "x-overrides"

# Keys that a row cannot set, and why, by section.
REFUSED = {
    "training": {
        **{key: _JOB.format(key) for key in ("launcher", "processes", "gradient_checkpointing", "checkpoint_steps", "tracker")},
        "warmup_epochs": "the warm-up is one policy that every method may start from; start: base leaves it out",
        "max_length": _FITTED,
        "pairs": "it is there to give all methods the same number: set training.pairs for all of them",
        "diagnostics": _MEASURED,
        "min_carried": _GATE,
        "pair_quality": _MEASURED,
        "behaviour": _GATE,
    },
    "sampling": {
        "context": _FITTED,
        "max_tokens": _FITTED,
        "cut": _FITTED,
        "shards": "it says how the work is split, not what a method is: set sampling.shards for all of them",
    },
}


class Overrides(Section):
    """Keys of a section that a method has of its own: what is not set is the run's."""

    SECTION: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _may_differ(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if why := REFUSED[cls.SECTION].get(key):
                raise ValueError(f"{key} cannot be set for one method: {why}")
        return values

    @model_serializer(mode="wrap")
    def _set_keys_alone(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if key in self.model_fields_set}


def _overrides_of(key: str, section: type[Section]) -> type[Overrides]:
    """The overrides of a section: its own fields, checked as there, none of them required."""

    class Of(Overrides):
        model_config = ConfigDict(json_schema_extra=_keys_without_defaults)
        SECTION = key

    fields: dict[str, Any] = {
        name: (Annotated[field.annotation, *field.metadata, Field(description=field.description)], None)
        for name, field in section.model_fields.items()
        if name not in REFUSED[key]
    }
    summary = f"Keys of `{key}` that the method has of its own."
    return create_model(f"{section.__name__}Overrides", __base__=Of, __doc__=summary, **fields)


def _keys_without_defaults(schema: dict[str, Any]) -> None:
    # What a row does not set is the run's, so there is no value to show.
    for field in schema["properties"].values():
        del field["default"]
    schema[OVERRIDES] = True


TrainingOverrides = _overrides_of("training", Training)
SamplingOverrides = _overrides_of("sampling", Sampling)


def effective(config: dict[str, Any], key: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Section `key` (training, sampling) of a validated configuration as it is for the method of a
    recipe: a key that the row sets takes the place of the run's, whole."""
    return config[key] | recipe[key]
