"""What bf16 leaves of trained weights: the half of their bits that a policy is served without.

Training moves fp32 weights by steps that are mostly smaller than half a step of bf16, in which
policies are served. So the rest of every weight is stored beside its policy, in 16 bits: with it
the next training starts from the fp32 weights, bit for bit. The same split lets NVIDIA Apex's
DistributedFusedAdam do without an fp32 copy (its option store_param_remainders).
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from drift.cli import StageError
from drift.files import share

_FILE = "remainder.safetensors"


def split(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """fp32 `weights` as the nearest bf16 numbers (halves away from zero), and the int16 remainder
    that `add` adds to these again.

    A bf16 number is the upper half of an fp32 one. Adding half of the lower half's range before it
    is cut off rounds to the nearest; what the upper half lacks or has too much is then in
    [-2^15, 2^15), so that 16 bits hold it.
    """
    bits = weights.contiguous().view(torch.int32)
    upper = (bits + 0x8000) >> 16
    remainder = bits - (upper << 16)
    return upper.to(torch.int16).view(torch.bfloat16), remainder.to(torch.int16)


def write(remainders: dict[str, torch.Tensor], folder: Path) -> None:
    """Store the remainders of a policy's weights, by their names in the model; without any, an
    empty folder says that the policy is all there is."""
    folder.mkdir(parents=True, exist_ok=True)
    if remainders:
        save_file(remainders, folder / _FILE)
        share(folder / _FILE)  # as drift.policies.save does


def read(folder: Path | None) -> Iterator[tuple[str, torch.Tensor]]:
    """The remainders in `folder` one after the other; none without a folder, or in an empty one.

    Raises StageError where the folder is missing or broken.
    """
    if folder is None:
        return
    if not folder.is_dir():
        raise StageError(f"there is no folder {folder}; leave it out where the policy is all there is, as of a base model")
    if not (folder / _FILE).is_file():
        return
    try:
        with safe_open(folder / _FILE, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dictionary
                yield name, file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise StageError(f"{folder} cannot be read ({error}); delete it and run again to have it rebuilt") from error


@torch.no_grad()
def restore(model: torch.nn.Module, folder: Path | None) -> None:
    """Turn the weights of `model`, a policy that was loaded in fp32, into those that were trained:
    add the remainders in `folder`, if there are any.

    Raises StageError where they are not those of this model.
    """
    parameters = dict(model.named_parameters())
    for name, remainder in read(folder):
        add(parameters.get(name), remainder, f"{folder}: {name}")


def add(weights: torch.Tensor | None, remainder: torch.Tensor, what: str) -> torch.Tensor:
    """Add a remainder to `weights` in fp32, in place. `what` names it in the StageError that is
    raised where the two do not belong together."""
    if weights is None or weights.shape != remainder.shape:
        raise StageError(
            f"{what} has no weights of its shape in the policy; delete the policy and run again to have both rebuilt"
        )
    weights.data.view(torch.int32).add_(remainder.to(weights.device))
    return weights
