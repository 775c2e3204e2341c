"""Which code made a run, when, on what, and what it took."""

import json

from drift.report.provenance import provenance
from drift.report.reading import Catalog
from tests.builders.run import CONFIG, build_catalog, build_results


def test_hours_are_counted_by_device_and_what_no_file_records_is_said(tmp_path, monkeypatch):
    root = build_results(tmp_path)
    origin = {"commit": "abc", "finished": "2026-11-27T23:00:00+00:00", "device": "NVIDIA H200", "devices": 4}
    file = root / "qwen-0.5b/drift/seed42/iter1/policy.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | origin | {"seconds": 1800.0}))
    shard = root / "qwen-0.5b/drift/seed42/iter1/completions/1-of-2.json"
    used = {"seconds": 3000.0, "start_seconds": 600.0, "prompt_tokens": 10, "completion_tokens": 20}
    shard.write_text(json.dumps(origin | used | {"devices": 1, "finished": "2026-11-26T01:00:00+00:00"}))
    asked = root / "qwen-0.5b/base/eval/heldout/judge/tiny/completions/1-of-1.json"
    asked.write_text(json.dumps({"calls": 5, "seconds": 99.0, "usd": 1.5, "prompt_tokens": 1, "completion_tokens": 2}))
    build_catalog(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = provenance(Catalog("results/demo/catalog.duckdb"), CONFIG)
    assert (found.commits, found.first, found.last) == (["abc"], "2026-11-26", "2026-11-27")
    ((name, count, hours, kind),) = [(one.name, one.count, one.hours, one.kind) for one in found.devices]
    assert (name, count, hours, kind) == ("NVIDIA H200", 4, 3.0, "GPU hours"), "0.5 h on 4 and 1 h on 1, no endpoint's"
    assert (found.usd, found.read, found.written) == (1.5, 11, 22)
    assert found.unrecorded_hours == 4 * 4 * 75 / 3600, "the four other policies"
