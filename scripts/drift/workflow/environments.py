"""What the programs of an environment find in it."""

import os
from collections.abc import Mapping
from pathlib import Path

# Of every stage, unless it has been set otherwise; no result changes. Threads that wait for each
# other sleep: where other programs want the same cores, spinning ones slow each other down many
# times. And what glibc has taken for large tensors it keeps: given back after each of them, it is
# taken again page by page, a twentieth of a small training's time, more on a busy machine.
ON_CPUS = {"OMP_WAIT_POLICY": "PASSIVE", "MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**33)}


def with_tools(python: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables PATH and CUDA_HOME with which stages of the interpreter `python` find what was
    installed beside it: ninja, and nvcc where pip has installed one.

    vLLM's kernels are compiled at the first start, by whatever nvcc is found: one of another CUDA
    version, from a module, compiles what then does not load.
    """
    found = {"PATH": os.pathsep.join(filter(None, [str(python.parent), environ.get("PATH")]))}
    if nvcc := next(python.parent.parent.glob("lib/python3*/site-packages/nvidia/cu*/bin/nvcc"), None):
        found["CUDA_HOME"] = str(nvcc.parents[1])
        found["PATH"] = os.pathsep.join([str(nvcc.parent), found["PATH"]])
    return found
