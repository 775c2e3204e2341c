"""What the catalog shows of files of one JSON object each: DuckDB type and description by key."""

_ORIGIN = {  # of what a model did here; null where an endpoint did it, and in files of earlier versions
    "commit": ("VARCHAR", "commit of the code, -dirty where files of it differed; null outside a checkout of git"),
    "finished": ("VARCHAR", "when it was done, UTC"),
    "device": ("VARCHAR", "the GPU, or CPU and the processor"),
    "devices": ("BIGINT", "how many GPUs; 1 for a processor"),
}
MANIFEST = {  # what policies shows of a policy.json; a key that a manifest does not have is null
    "name": ("VARCHAR", "the policy's name"),
    "weights_sha256": ("VARCHAR", "hash of the weights; completions.policy_hash refers to it"),
    "remainder_sha256": ("VARCHAR", "hash of the remainder; null for the base model, and where training.carry is bf16"),
    "parent_sha256": ("VARCHAR", "hash of the policy that the iteration started from; null for the base model"),
    "pairs_sha256": ("VARCHAR", "hash of the pairs it was trained on; null for the base model"),
    "settings": ("JSON", "the training settings; settings ->> 'seed' is what the training was seeded with"),
    "versions": ("JSON", "versions of the libraries that trained it"),
    "steps_done": ("BIGINT", "optimizer steps that ran"),
    "steps_planned": ("BIGINT", "optimizer steps that were planned"),
    "changed_share": ("DOUBLE", "share of the weights that changed in bf16, 0 to 1; null for the base model"),
    "update_norm": ("DOUBLE", "||d w||, how far the training moved the fp32 weights w; null for the base model"),
    "served_share": (
        "DOUBLE",
        "<d w, d bf16(w)> / ||d w||^2, the share of that which the policy shows as it is served; null for the base model",
    ),
    "seconds": ("DOUBLE", "time of the job that finished the training, in seconds"),
    "tokens": ("BIGINT", "tokens of prompts and replies that an epoch reads, each row once"),
    **_ORIGIN,
}
GATES = {
    "gate": ("VARCHAR", "name of the check"),
    "passed": ("BOOLEAN", "whether it held"),
    "detail": ("VARCHAR", "what was counted or compared"),
}
USAGE = {
    "shard": ("BIGINT", "number of the shard, from 1"),
    "shards": ("BIGINT", "of how many"),
    "requests": ("BIGINT", "requests of the shard, all of which have a completion"),
    "finish_reasons": ("JSON", "completions by finish_reason"),
    "prompt_tokens": ("BIGINT", "tokens read"),
    "completion_tokens": ("BIGINT", "tokens written"),
    "seconds": ("DOUBLE", "time to answer, without the start"),
    "start_seconds": ("DOUBLE", "time to start the engine"),
    "calls": ("BIGINT", "requests sent to an endpoint, repetitions included; null for a model that ran here, as the next five"),
    "answered": ("BIGINT", "requests that the endpoint answered in this job"),
    "reused": ("BIGINT", "requests that it had answered before"),
    "failed": ("BIGINT", "requests that got no answer"),
    "errors": ("JSON", "the commonest reasons, and how many requests each"),
    "usd": ("DOUBLE", "what the job cost, by the configured prices"),
    "models": ("VARCHAR[]", "completions.policy_hash of the shard"),
    "settings": ("JSON", "the settings of the generation"),
    "requests_sha256": ("VARCHAR", "hash of the table of requests"),
    "completions_sha256": ("VARCHAR", "hash of the shard"),
    "versions": ("JSON", "versions of the libraries"),
    **_ORIGIN,
}
