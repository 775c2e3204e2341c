"""The guard of the Slurm profile leans on the plugin's internals: this fails when they change."""

import json
import subprocess

from tests.conftest import REPOSITORY

# Hashes of the source of what the guard replaces or relies on. Where one differs, read what changed
# in the plugin before changing the hash.
KNOWN = {
    "Executor.__init__": "387fdecad579",
    "Executor.__post_init__": "a2516401a2d4",
    "Executor._submit_job": "9220e03682ba",
    "Executor.run_job": "d8a8af5d4605",
    "Executor.check_active_jobs": "a15ec905e07e",
    "Executor.cancel_jobs": "fa5264a51538",
    "Executor.shutdown": "67e48b94f0bc",
    "RemoteExecutor": "766034ebde62",
    "SubmittedJobInfo": "772369543269",
}


def test_the_plugin_is_the_one_that_the_guard_was_written_for():
    program = f"""
import hashlib, inspect, json, sys
from importlib.metadata import version
sys.path.insert(0, {str(REPOSITORY / "scripts")!r})
from drift.workflow.slurm_guard import PLUGIN_VERSION
from snakemake_executor_plugin_slurm import Executor, RemoteExecutor, SubmittedJobInfo
assert version("snakemake-executor-plugin-slurm") == PLUGIN_VERSION
print(json.dumps({{name: hashlib.sha256(inspect.getsource(eval(name)).encode()).hexdigest()[:12] for name in {list(KNOWN)}}}))
"""
    found = json.loads(run(program))
    assert {name: found[name] for name in KNOWN if found[name] != KNOWN[name]} == {}


# How Slurm 22.05 and 24.11 print that there is a database, or none.
ACCOUNTS = {"accounting_storage/slurmdbd": True, "accounting_storage/none": False, "(null)": False}


def test_a_slurm_without_a_database_is_known_by_its_configuration():
    """One that is asked for its records all the same never answers, and no job would end."""
    program = f"""
import json, sys
sys.path.insert(0, {str(REPOSITORY / "scripts")!r})
from drift.workflow.slurm_guard import _keeps_accounts
line = "AccountingStorageTRES   = cpu\\nAccountingStorageType   = {{}}\\nAccountingStoreFlags    = (null)\\n"
print(json.dumps({{kind: _keeps_accounts(line.format(kind)) for kind in {list(ACCOUNTS)}}}))
"""
    assert json.loads(run(program)) == ACCOUNTS


def run(program: str) -> str:
    """What a program prints that runs with the driver's Python."""
    done = subprocess.run(
        [REPOSITORY / ".venv/snakemake/bin/python", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
