"""What keeps `snakemake --profile slurm` from hanging, and from running twice at once.

The Slurm plugin drops a job without a word where it does not understand an answer of Slurm's: a
cancelled job as sacct prints it, a preempted one that is not requeued, a controller or database
that is away for half a minute, records that Slurm has forgotten, accounting that is switched off.
So three of its methods are replaced here:

check_active_jobs  asks squeue, and sacct about jobs that squeue no longer knows; ignores an empty
                   answer
cancel_jobs        cancels by the run's name, so that a job that is just being submitted is
                   cancelled as well
__post_init__      refuses, before anything is submitted, where another driver works on these
                   results, or one that died left jobs in the queue

The plugin's version is pinned, as these lean on its internals.
"""

import getpass
import hashlib
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from snakemake.exceptions import WorkflowError

from drift.cli import StageError
from drift.locks import hold

PLUGIN_VERSION = "2.8.0"

# Seconds that a job may be unknown to Slurm, or preempted without being requeued, before it counts
# as failed.
PATIENCE = 120

ALIVE = {
    *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"),
    *("REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
}
HINTS = {
    "CANCELLED": "somebody cancelled it (scancel)",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "it used more memory than mem_mb of its rule in the profile",
    "PREEMPTED": "it was preempted and this partition does not requeue",
    "TIMEOUT": "it reached the time limit, runtime of its rule in the profile",
    "UNKNOWN": f"Slurm has not known it for {PATIENCE} s",
}
# Reasons for which a pending job stays pending until somebody does something.
HELD = {
    *("JobHeldUser", "JobHeldAdmin", "launch failed requeued held", "BadConstraints", "DependencyNeverSatisfied"),
    *("PartitionTimeLimit", "PartitionNodeLimit", "AccountNotAllowed", "QOSNotAllowed", "InvalidAccount", "InvalidQOS"),
}


def install(results: str) -> None:
    """Replace the plugin's methods in this process, for a run whose results are in the folder
    `results`.

    Does nothing where the plugin is not installed; without the Slurm executor the methods are never
    called.
    """
    if plugin := sys.modules.get("snakemake_executor_plugin_slurm"):
        plugin.Executor.check_active_jobs = check_active_jobs
        plugin.Executor.cancel_jobs = cancel_jobs
        plugin.Executor.__post_init__ = _guarded(plugin.Executor.__post_init__, Path(results))


def _guarded(post_init, results: Path):
    def guarded(executor, *arguments, **options):
        if (installed := version("snakemake-executor-plugin-slurm")) != PLUGIN_VERSION:
            raise WorkflowError(
                f"snakemake-executor-plugin-slurm {installed} is installed, {PLUGIN_VERSION} is needed (make envs)"
            )
        post_init(executor, *arguments, **options)
        # In the job's name: by it a later run knows the jobs of these very results.
        key = hashlib.sha256(str(results.resolve()).encode()).hexdigest()[:8]
        executor.run_uuid = f"{results.name}-{key}_{executor.run_uuid}"
        executor.unseen, executor.told, executor.silent_since = {}, set(), None
        try:
            hold(results / "state/driver.lock", f"running {results} on Slurm")
        except StageError as error:
            raise WorkflowError(str(error)) from None
        refuse_left_jobs(results, key)

    return guarded


def refuse_left_jobs(results: Path, key: str) -> None:
    """Raise WorkflowError where jobs of these results are in the queue: a new run would do their
    work a second time."""
    try:
        queue = _slurm("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%T|%k|%j")
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkflowError(f"Slurm does not answer, so nothing was submitted: {_words(error)}") from None
    jobs = [line.split("|") for line in queue.splitlines() if line.rsplit("|", 1)[-1].startswith(f"{results.name}-{key}_")]
    if jobs:
        listed = "\n".join(f"  {job}  {state}  {comment}" for job, state, comment, _ in jobs)
        raise WorkflowError(
            f"jobs of {results} are still in the queue, left by a snakemake that ended before them:\n{listed}\n"
            "Wait until they are gone and start again, which keeps what they finish; or cancel them first:\n"
            f"  scancel {' '.join(job for job, *_ in jobs)}"
        )


async def check_active_jobs(executor, active_jobs):
    """Report the jobs that ended; yield the others. Asks again after the profile's
    init-seconds-before-status-checks."""
    settings = executor.workflow.executor_settings
    executor.next_seconds_between_status_checks = settings.init_seconds_before_status_checks
    if not active_jobs:
        return
    try:
        states = job_states(executor.run_uuid, {job.external_jobid for job in active_jobs})
    except (OSError, subprocess.SubprocessError) as error:
        if executor.silent_since is None:
            executor.silent_since = time.monotonic()
            executor.logger.warning(f"Slurm does not answer ({_words(error)}). Jobs go on; asking until it does.")
        for job in active_jobs:
            yield job
        return
    if executor.silent_since is not None:
        executor.logger.warning(f"Slurm answers again, after {time.monotonic() - executor.silent_since:.0f} s.")
        executor.silent_since = None
    for job in active_jobs:
        state, reason = states.get(job.external_jobid, ("UNKNOWN", ""))
        log = job.aux["slurm_logfile"]
        if state in ("UNKNOWN", "PREEMPTED"):
            since = executor.unseen.setdefault(job.external_jobid, time.monotonic())
            over = time.monotonic() - since > PATIENCE
        else:
            executor.unseen.pop(job.external_jobid, None)
            over = state not in ALIVE
        if state == "COMPLETED":
            executor.report_job_success(job)
            if not settings.keep_successful_logs:
                log.unlink(missing_ok=True)
        elif over:
            if state == "FAILED" and "Exceeded job memory limit" in _read(log):
                state = "OUT_OF_MEMORY"  # as a Slurm with cgroups says it; one that counts memory itself has no state for it
            hint = f": {HINTS[state]}" if state in HINTS else ""
            executor.report_job_error(job, msg=f"Slurm job {job.external_jobid} is {state}{hint}. ", aux_logs=[str(log)])
        else:
            if reason in HELD and job.external_jobid not in executor.told:
                executor.told.add(job.external_jobid)
                executor.logger.warning(
                    f"Slurm job {job.external_jobid} will not start by itself: {reason}. "
                    f"scontrol release {job.external_jobid} may help; scancel {job.external_jobid} gives it up."
                )
            yield job


def job_states(run: str, ids: set[str]) -> dict[str, tuple[str, str]]:
    """State of the run's jobs and why they wait, by id; a job that Slurm does not know is absent.

    Raises OSError or SubprocessError where Slurm cannot say.
    """
    queue = _slurm("squeue", "--noheader", "--states=all", f"--name={run}", "--format=%i|%T|%r")
    states = {job: (state, reason) for job, state, reason in (line.split("|") for line in queue.splitlines())}
    # The controller forgets finished jobs after MinJobAge; the database, where there is one, does
    # not.
    if (gone := ids - set(states)) and _keeps_accounts(_slurm("scontrol", "show", "config")):
        past = _slurm(
            "sacct", "--allocations", "--noheader", "--parsable2", "--format=JobIDRaw,State", f"--jobs={','.join(gone)}"
        )
        # A cancelled job is 'CANCELLED by 1000'.
        states |= {job: (state.split()[0], "") for job, state in (line.split("|") for line in past.splitlines())}
    return states


def _keeps_accounts(configuration: str) -> bool:
    """Whether a Slurm has a database, by what `scontrol show config` prints: without one it is
    accounting_storage/none, and of newer versions (24.11) (null)."""
    return re.search(r"^AccountingStorageType\s*=\s*(accounting_storage/none|\(null\)|)$", configuration, re.MULTILINE) is None


def cancel_jobs(executor, active_jobs) -> None:
    """Cancel every job of the run, those included that are being submitted or looked at in this
    moment."""
    executor._job_submission_executor.shutdown(wait=True, cancel_futures=True)
    try:
        _slurm("scancel", f"--name={executor.run_uuid}")
    except (OSError, subprocess.SubprocessError) as error:
        executor.logger.error(
            f"The jobs could not be cancelled ({_words(error)}). Once Slurm answers: scancel --name={executor.run_uuid}"
        )


def _slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def _read(log: Path) -> str:
    try:
        return log.read_text(errors="replace")
    except OSError:
        return ""


def _words(error: Exception) -> str:
    return (getattr(error, "stderr", None) or str(error)).strip()
