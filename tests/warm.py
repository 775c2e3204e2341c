"""A Python whose programs start with the libraries of the stages imported already.

A stage on a tiny model is little but the import of torch, transformers and TRL, some seconds each
time. `warm_python` is an interpreter for `environments` in a configuration: it hands the program to
a server that has imported them, and that forks a process for it. The code of the stages and all
that a program prints, returns, reads of its environment or writes are as ever. Only the process is
another: tests that kill a stage use the plain interpreter.
"""

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# Modules of libraries alone: what is wrong with the project's imports is still seen.
_LIBRARIES = ("duckdb", "polars", "dataframely", "datasets", "torch", "transformers", "trl", "accelerate")
_LAZY = {
    "transformers": ("AutoModelForCausalLM", "AutoModelForSequenceClassification", "AutoTokenizer", "Trainer"),
    "trl": ("DPOConfig", "DPOTrainer"),
}
_STREAMS = 3

# Sends a program's words, folder, environment and streams, passes signals on, and ends as it did.
# What is no program (-c, -m) goes to the interpreter itself; torchrun starts programs with -u.
_CLIENT = """#!{python} -IS
import array, json, os, signal, socket, sys
words = sys.argv[2:] if sys.argv[1:2] == ["-u"] else sys.argv[1:]
if not words or not words[0].endswith(".py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
job = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
server.sendmsg([len(job).to_bytes(8, "little")], streams)
server.sendall(job)
answers = server.makefile()
process = int(answers.readline())
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: os.kill(process, number))
os._exit(int(answers.readline()))
"""


@contextlib.contextmanager
def warm_python(python: Path) -> Iterator[Path]:
    """The path of an interpreter like `python`, for as long as the context is open."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    address = folder / "socket"
    server = subprocess.Popen([python, __file__, address])
    try:
        while not address.exists():
            if server.poll() is not None:
                raise RuntimeError(f"the server of {python} ended with {server.returncode}")
            time.sleep(0.05)
        client = folder / "python"
        client.write_text(_CLIENT.format(python=str(python), address=str(address)))
        client.chmod(0o755)
        yield client
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _received(connection: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]]:
    """What a client asks for: the program's words, folder and environment, and its streams."""
    size, control, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(_STREAMS * array.array("i").itemsize))
    streams = array.array("i")
    streams.frombytes(control[0][2])
    with connection.makefile("rb") as stream:
        words, folder, environment = json.loads(stream.read(int.from_bytes(size, "little")))
    return words, folder, environment, list(streams)


def _become(words: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> None:
    """Run the program in this process, and end it without clearing away the libraries."""
    import torch

    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    for stream, received in enumerate(streams):
        os.dup2(received, stream)
        os.close(received)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if threads := environment.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))  # read when torch was imported
    sys.argv[:] = words
    sys.path[0] = str(Path(words[0]).resolve().parent)
    code = 0
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _answer(connection: socket.socket) -> None:
    """Run a client's program in a process of its own; tell its number, and how it ended."""
    asked = _received(connection)
    if (process := os.fork()) == 0:
        connection.close()
        _become(*asked)
    connection.sendall(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status) % 256}\n".encode())
    os._exit(0)


def _serve(address: Path) -> None:
    """Import the libraries, then fork for each client, until this process is ended."""
    for name in _LIBRARIES:
        module = importlib.import_module(name)
        for lazy in _LAZY.get(name, ()):
            getattr(module, lazy)
    if threading.active_count() > 1:
        raise RuntimeError("an imported library started a thread, which a fork would lose")
    gc.collect()
    gc.freeze()  # a collection would write to, and so copy, every page that a fork shares
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{address}.new")
        server.listen(16)
        os.rename(f"{address}.new", address)
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(connection)
            connection.close()


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # as the stages say, before the hub's library is imported
    _serve(Path(sys.argv[1]))
