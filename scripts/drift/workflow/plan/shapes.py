"""How large the models of a configuration are, without loading them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from drift.cli import StageError
from drift.workflow.cost_model import SHAPES, Shape, scaled_shape, shape_of
from drift.workflow.inputs import located


def shape_finder(folder: Path, parameters: float | None) -> Callable[[str], Shape]:
    """A function from a model's address to its shape.

    From its config.json, if it is local or was fetched (downloads/ is in `folder`); of another
    family than ours by the size of its weights; else by the name in the address, else by
    `parameters` alone. Raises StageError where nothing says how large it is.
    """

    def find(address: str) -> Shape:
        config = folder / located(address) / "config.json"
        if config.is_file():
            try:
                return shape_of(config)
            except KeyError:
                if weights := sum(file.stat().st_size for file in config.parent.glob("*.safetensors")):
                    fields = json.loads(config.read_text())
                    kind = fields.get("dtype", fields.get("torch_dtype"))  # its name in older files
                    return scaled_shape(weights / (4 if kind == "float32" else 2))
        # Longest name first: a name may be the beginning of another.
        for name in sorted(SHAPES, key=len, reverse=True):
            if re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", address.lower()):
                return SHAPES[name]
        if parameters:
            return scaled_shape(parameters)
        raise StageError(f"nothing says how large {address} is: download it first, or give --parameters, e.g. 7.6e9")

    return find
