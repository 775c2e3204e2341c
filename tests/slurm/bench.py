"""What the machinery costs: 100 one-second jobs on a test Slurm, the plan of a large run, and five
iterations whose jobs wait in a queue. `make bench-slurm` prints it; `python -m tests.slurm.bench
waits` the last alone."""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from tests.conftest import REPOSITORY, SNAKEMAKE, tiny_config
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import Driver, profile_run, site

JOBS, AT_ONCE = 100, 8
# Seconds that a job waits in the queue, and iterations.
WAIT, ITERATIONS = 60, 5
# An interpreter of stages that makes what a stage would write, in a second.
STAGE = """\
#!/bin/sh
for word; do
    case $word in results/*.*) mkdir -p "${word%/*}"; [ -e "$word" ] || : > "$word" ;; results/*) mkdir -p "$word" ;; esac
done
sleep 1
"""


def measured(work) -> tuple[float, float, object]:
    """Seconds that passed, seconds of CPU that child processes used, and what `work()` returned."""
    before, began = os.times(), time.monotonic()
    value = work()
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, used, value


def jobs(folder: Path) -> str:
    """Run the jobs, and say what each cost beyond its second."""
    with Cluster() as cluster:
        config = ["--config", f"scripts={REPOSITORY / 'scripts'}", "seconds=1"]
        options = ["--snakefile", "tests/slurm/guard.smk", "--executor", "slurm", "--jobs", str(AT_ONCE), "--nolock"]
        targets = [f"{number}.txt" for number in range(JOBS)]
        seconds, used, _ = measured(lambda: Driver(cluster, folder, *options, *config, "--", *targets).succeeds(1800))
    return (
        f"{JOBS} one-second jobs, {AT_ONCE} at once: {seconds:.0f} s, {seconds * AT_ONCE / JOBS - 1:.1f} s a job from submission to "
        f"being seen as finished, beyond its second; the driver used {used:.0f} s of CPU"
    )


def plan(folder: Path) -> str:
    """Dry-run 2 models x 4 methods x 5 iterations x 8 shards, and say how long that took."""
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    (path,) = [model["path"] for model in config["models"].values()]
    config["models"] = {"first": {"path": path}, "second": {"path": path}}
    config["recipes"]["other"] = {"prompts": "dsat", "chosen": "plain", "rejected": "logged", "start": "base"}
    config |= {"methods": ["drift", "drift-unguided", "spin", "other"], "iterations": 5}
    config["sampling"]["shards"] = 8
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [
        str(SNAKEMAKE),
        "--snakefile",
        str(REPOSITORY / "Snakefile"),
        "--directory",
        str(folder),
        "-n",
        "--quiet",
        "rules",
    ]
    command += ["--configfile", str(folder / "config.yaml")]
    seconds, used, done = measured(lambda: subprocess.run(command, capture_output=True, text=True, check=True))
    (total,) = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("total")][:1]
    return (
        f"snakemake -n of 2 models x 4 methods x 5 iterations x 8 shards ({total} jobs): {seconds:.1f} s, {used:.1f} s of CPU"
    )


def waits(folder: Path) -> str:
    """Five iterations through the shipped profile, on a Slurm where every job waits; and without
    its line on light stages. Side by side, so that other work on the machine is the same for both.
    Say how long both took."""
    (folder / "model").mkdir()
    (folder / "model/model.safetensors").write_bytes(b"0" * 1000)
    (folder / "logs.jsonl").touch()
    stage = folder / "stage"
    stage.write_text(STAGE)
    stage.chmod(0o755)
    config = tiny_config(folder / "model", folder / "logs.jsonl") | {"methods": ["drift"], "iterations": ITERATIONS}
    config["environments"] = {"cpu": str(stage), "gpu": str(stage)}

    def run(name: str, line: str) -> str:
        work = folder / name.replace(" ", "-")
        work.mkdir()
        profile = site(work, lambda text: text.replace("\nresources: {light: 4}", line))
        with Cluster(wait=WAIT) as cluster:
            began = time.monotonic()
            printed = profile_run(cluster, work, config, "policies_all", profile=profile).succeeds(7200)
        submitted = printed.count("has been submitted with SLURM jobid")
        return f"  {name}: {time.monotonic() - began:.0f} s, {submitted} jobs submitted"

    shipped = {"light stages where snakemake runs": "\nresources: {light: 2}", "light stages submitted": ""}
    with ThreadPoolExecutor() as pool:
        lines = list(pool.map(run, shipped, shipped.values()))
    return f"{ITERATIONS} iterations of stages of a second, each job waits {WAIT} s:\n" + "\n".join(lines)


MEASURES = {"plan": plan, "jobs": jobs, "waits": waits}


def main() -> None:
    """Measure what the command line names, or all."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name in sys.argv[1:] or MEASURES:
        with tempfile.TemporaryDirectory() as folder:
            print(MEASURES[name](Path(folder)), flush=True)


if __name__ == "__main__":
    main()
