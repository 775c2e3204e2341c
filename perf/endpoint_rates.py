"""How busy the endpoint client keeps its connections: 2,000 requests, 64 in flight, against a
server that takes 200 ms each.

Prints one JSON object: seconds, the least that arithmetic allows, and the client's CPU seconds. Run
it on an idle machine: client and server share its cores.
"""

import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from tests.endpoints import FaultyEndpoint

from drift.config import Endpoint, Engine
from drift.engines import load_engine
from drift.settings.sampling import EndpointRuntime, EngineRuntime
from drift.workflow.generation import generation_settings

REQUESTS, IN_FLIGHT, DELAY = 2000, 64, 0.2


def serve(address) -> None:
    """Serve in a process of its own until the other end of `address` hangs up."""
    with FaultyEndpoint(delay=DELAY) as server:
        address.send(server.url)
        address.recv()


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs,))
    server.start()
    url = ours.recv()
    endpoint = Endpoint(url=url, model="loopback", key=None, concurrency=IN_FLIGHT).model_dump()
    decoding = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 500}
    settings = generation_settings("vllm", context=4096, decoding=decoding, endpoint=endpoint)
    runtime = EngineRuntime.of(Engine().model_dump(), endpoint=EndpointRuntime.of(endpoint))
    requests = [
        {
            "request_id": str(number),
            "messages": [{"role": "user", "content": f"{number} " + "word " * 400}],
            "seed": 0,
            "sample": 0,
        }
        for number in range(REQUESTS)
    ]
    with tempfile.TemporaryDirectory() as state:
        engine = load_engine(None, settings, runtime, Path(state))
        started, used = time.monotonic(), time.process_time()
        rows = engine.generate(requests)
        seconds, cpu = time.monotonic() - started, time.process_time() - used
    ours.send("end")
    server.join()
    assert len(rows) == engine.usage["answered"] == engine.usage["calls"] == REQUESTS
    least = REQUESTS * DELAY / IN_FLIGHT
    print(json.dumps({"seconds": round(seconds, 2), "least": least, "client_cpu_seconds": round(cpu, 2)}))


if __name__ == "__main__":
    main()
