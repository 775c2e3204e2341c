"""What the settings of all stages share: frozen, named one by one, written in one canonical way."""

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """What shapes the result of a stage.

    The rule builds it, the program parses it. Every key is named: what a stage does not name cannot
    reach it, so a new key of the configuration makes nothing run again that does not use it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def of(cls, *sections: dict, **values: Any) -> Self:
        """The settings with these `values`; what is not among them comes from the first of the
        `sections` of the configuration that has a key of its name."""
        for name in cls.model_fields.keys() - values.keys():
            found = next((section for section in sections if name in section), None)
            if found is not None:
                values[name] = found[name]
        return cls.model_validate(values, strict=False)

    def canonical(self) -> str:
        """The settings as JSON with sorted keys. Snakemake compares params as an unordered set of
        values, so that two values that change places would go unnoticed if each were a param."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def like(section: type[BaseModel], key: str, **changes: Any) -> Any:
    """A field with the description of a key of the configuration: what a key means is said once."""
    return Field(description=section.model_fields[key].description, **changes)
