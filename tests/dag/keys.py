"""What runs again after a key of the configuration changes: every key, and the rules whose own
settings or inputs change with it.

What follows from these rules follows.
"""

from types import UnionType
from typing import get_args, get_origin

from drift.config import Section
from drift.config.overrides import Overrides

NOTHING: set[str] = set()
# The rule of the last argument runs whatever the key: it keeps all of them.
ALWAYS = {"resolved_config"}
# What an iteration adds when it comes.
ITERATION = {
    "requests",
    "sample",
    "pairs",
    "train",
    "diagnostics",
    "rated_pairs",
    "compare_requests",
    "compare",
    "compare_judgments",
    "pair_quality",
    "respond",
    "responses",
    "checks",
    "judge_requests",
    "judge",
    "judgments",
    "logps",
    "behaviour",
    "improvement",
}

# What another judge of the pairs adds: it is asked about them, and nothing is trained.
RATING = {"compare_requests", "compare", "compare_judgments", "pair_quality", "catalog"}

# How an endpoint is asked, which shapes no answer.
ENDPOINT_HERE = {
    "key": "OTHER_KEY",
    "concurrency": 2,
    "timeout": 2.0,
    "attempts": 2,
    "input_price": 2.0,
    "output_price": 2.0,
    "budget": 2.0,
    "max_failed": 0.5,
}

# Key: another value, and the rules whose own settings or inputs change with it. What follows from
# these follows.
KEYS = {
    "seeds": ([7, 42], ITERATION | {"ledger", "scores", "catalog"}),
    "data.seed": (
        7,
        {
            "pools",
            "tasks",
            "label_requests",
            "agreement",
            "benchmark_requests",
            "judge_requests",
            "judgments",
            "train",
            "diagnostics",
            "improvement",
            "rated_pairs",
            "compare_requests",
            "compare_judgments",
            "pair_quality",
            "scores",
        },
    ),
    "iterations": (3, ITERATION | {"ledger", "scores", "catalog"}),
    # The judge and a labeler were the same model; now they are laid out by themselves.
    "models.*.path": (
        "other",
        {"register", "register_judge", "judge_requests", "judge", "register_labeler", "label_requests", "annotate"}
        | {"compare_requests", "compare"},
    ),
    "models.*.chat_template_kwargs": ({"enable_thinking": False}, {"register"}),
    "methods": (["drift", "spin", "drift-unguided"], ITERATION | {"ledger", "scores", "catalog"}),
    "recipes.*.prompts": ("corrections", {"requests", "pairs", "rated_pairs"}),
    "recipes.*.chosen": ("plain", {"requests", "pairs"}),
    "recipes.*.rejected": ("plain", {"requests", "pairs"}),
    "recipes.*.start": ("base", {"sample", "train", "diagnostics", "improvement", "behaviour", "scores"}),
    "recipes.*.replay": (1, {"train"}),
    # Any key of these sections; tests/unit/test_config_overrides.py has them all.
    "recipes.*.training": ({"epochs": 2}, {"train"}),
    "recipes.*.sampling": ({"temperature": 0.5}, {"sample"}),
    "data.sources.*.kind": ("sharegpt", {"turns"}),
    "data.sources.*.path": ("other.jsonl", {"turns"}),
    "data.sources.*.conversations": ("other.jsonl", {"turns"}),
    "data.sources.*.columns": ({"conversation": "chat", "role": "role", "content": "text"}, {"turns"}),
    "data.sources.*.mask": (True, {"turns"}),
    "data.labelers.*.kind": ("source", {"labels"}),
    "data.labelers.*.path": ("other", {"register_labeler", "label_requests", "annotate"}),
    "data.labelers.*.context": (2048, {"label_requests", "annotate"}),
    "data.labelers.*.max_replies": (3, {"label_requests"}),
    "data.labelers.*.shards": (2, {"annotate", "labels"}),
    "data.labelers.*.endpoint.url": ("http://localhost:2/v1", {"annotate"}),
    "data.labelers.*.endpoint.model": ("y", {"annotate"}),
    "data.labelers.*.endpoint.parameters": ({"temperature": None}, {"annotate"}),
    **{f"data.labelers.*.endpoint.{key}": (value, NOTHING) for key, value in ENDPOINT_HERE.items()},
    "data.labeler": ("again", {"pools"}),
    "data.label_files.*.path": ("other.jsonl", {"agreement"}),
    "data.label_files.*.source": ("second", {"agreement"}),
    "data.label_files.*.strata": ("other.jsonl", {"agreement"}),
    "data.label_noise.dsat": (0.1, {"pools"}),
    "data.label_noise.sat": (0.1, {"pools"}),
    "data.label_noise.corrections": (0.1, {"pools"}),
    "data.label_noise.drawn_from": ("neutral", {"pools"}),
    "data.allusions.train": ("keep", {"pools"}),
    "data.allusions.test": ("keep", {"pools"}),
    "data.filters.languages": (["English"], {"pools", "label_requests"}),
    "data.filters.drop_toxic": (False, {"pools"}),
    "data.filters.drop_redacted": (True, {"pools"}),
    "data.filters.drop_merged": (False, {"pools"}),
    "data.filters.drop_tool_calls": (False, {"pools"}),
    "data.filters.drop_missing_parts": (False, {"pools"}),
    "data.filters.drop_continuations": (False, {"pools"}),
    "data.filters.drop_refusals": (False, {"pools"}),
    "data.filters.min_chars": (2, {"pools"}),
    "data.filters.max_chars": (100, {"pools"}),
    "data.filters.min_score": (0.5, {"pools"}),
    "data.filters.near_duplicates": (0.5, {"pools"}),
    "data.filters.max_per_conversation": (1, {"pools"}),
    "data.filters.max_per_user": (1, {"pools"}),
    "data.filters.max_per_template": (1, {"pools"}),
    "data.decontamination.ngram": (8, {"pools", "contamination"}),
    "data.decontamination.coverage": (0.8, {"pools", "contamination"}),
    "data.pick": ("first", {"pools"}),
    "data.max_dsat": (10, {"pools"}),
    "data.max_sat": (10, {"pools"}),
    "data.max_corrections": (10, {"pools"}),
    "data.test_conversations": (9, {"pools"}),
    "data.test_correction_conversations": (9, {"pools"}),
    "prompting.style": ("paper", {"prompts", "requests", "sample"}),
    "prompting.allusions": ("drop", {"pairs"}),
    "prompting.instruction": ("Try again.", {"prompts", "requests", "pairs", "train"}),
    "sampling.n": (2, {"requests"}),
    "sampling.temperature": (0.5, {"sample"}),
    "sampling.top_p": (0.5, {"sample"}),
    "sampling.top_k": (5, {"sample"}),
    "sampling.repetition_penalty": (1.2, {"sample"}),
    "sampling.max_tokens": (40, {"prompts", "sample", "pairs"}),
    "sampling.cut": ("drop", {"pairs"}),
    "sampling.context": (500, {"prompts", "benchmark_prompts", "sample", "respond"}),
    "sampling.shards": (3, {"sample", "pairs"}),
    "training.beta": (0.2, {"train", "diagnostics", "scores"}),
    "training.label_smoothing": (0.1, {"train"}),
    "training.reference": ("initial", {"train", "diagnostics"}),
    "training.lora.rank": (4, {"train", "diagnostics"}),
    "training.lora.alpha": (4, {"train", "diagnostics"}),
    "training.lora.dropout": (0.1, {"train", "diagnostics"}),
    "training.lora.targets": (["q_proj"], {"train", "diagnostics"}),
    "training.launcher": ("single", NOTHING),
    "training.processes": (2, NOTHING),
    "training.tracker": ("tensorboard", NOTHING),
    "training.diagnostics.pairs": (3, {"diagnostics", "improvement"}),
    "training.diagnostics.prompts": (3, {"diagnostics"}),
    "training.diagnostics.max_tokens": (3, {"diagnostics"}),
    "training.pair_quality.rater": ("second", {"register_judge"} | RATING),
    "training.pair_quality.pairs": (3, {"rated_pairs"}),
    # A training that waits for these tables is not repeated by them.
    "training.behaviour.benchmark": ("late", {"behaviour"}),
    "training.behaviour.outcome": ("off", {"behaviour"}),
    "training.behaviour.min_replies": (3, {"behaviour"}),
    "training.behaviour.min_length_before": (0.3, {"behaviour"}),
    "training.behaviour.max_length_before": (3.0, {"behaviour"}),
    "training.behaviour.min_length_base": (0.3, {"behaviour"}),
    "training.behaviour.max_length_base": (3.0, {"behaviour"}),
    "training.behaviour.max_empty": (0.3, {"behaviour"}),
    "training.behaviour.max_identical": (0.3, {"behaviour"}),
    "training.behaviour.max_unended": (0.3, {"behaviour"}),
    "training.behaviour.min_distinct": (0.3, {"behaviour"}),
    "training.behaviour.max_repetition": (0.3, {"behaviour"}),
    "training.behaviour.min_script": (0.3, {"behaviour"}),
    "training.behaviour.max_off_prompt": (0.3, {"behaviour"}),
    "training.pairs": (3, {"pairs"}),
    "training.losses": ({"exo_pair": 1.0}, {"train"}),
    "training.learning_rate": (2e-4, {"train"}),
    "training.schedule": ("cosine", {"train"}),
    "training.schedule_warmup": (0.2, {"train"}),
    "training.optimizer": ("adamw_torch", {"train"}),
    "training.pacing.order": ("hard", {"train"}),
    "training.pacing.shares": ([0.5, 1.0], {"train"}),
    "training.epochs": (2, {"train"}),
    "training.warmup_epochs": (2, {"train"}),
    "training.global_batch": (8, {"train"}),
    "training.device_batch": (4, {"train", "diagnostics"}),
    "training.max_length": (200, {"prompts", "pairs", "train", "diagnostics"}),
    "training.precision": ("fp32", {"train", "diagnostics"}),
    "training.carry": ("bf16", {"train"}),
    "training.min_carried": (0.2, NOTHING),
    "training.gradient_checkpointing": (True, NOTHING),
    "training.checkpoint_steps": (3, NOTHING),
    "evaluation.benchmarks.*.kind": (
        "arena-hard",
        {"tasks", "scores", "judge_requests", "judge", "judgments", "report"},
    ),  # other verdicts and metrics, which the report names
    "evaluation.benchmarks.*.path": ("other.jsonl", {"tasks"}),
    "evaluation.benchmarks.*.baseline": ("other.jsonl", {"tasks"}),
    "evaluation.benchmarks.*.references": ({"gpt": "other.jsonl"}, {"tasks"}),
    "evaluation.benchmarks.*.difficulty": ("other.jsonl", {"tasks"}),
    "evaluation.benchmarks.*.gamed": ("other.jsonl", {"scores"}),
    "evaluation.benchmarks.*.examples": ("other.jsonl", {"tasks"}),
    "evaluation.benchmarks.*.shots": (2, {"tasks"}),
    "evaluation.benchmarks.*.keep_out": (True, {"pools", "pairs", "catalog"}),
    "evaluation.benchmarks.*.judge": ("second", {"register_judge", "judge_requests", "judge", "judgments", "scores"}),
    "evaluation.benchmarks.*.order": ("both", {"judge_requests", "judgments"}),
    "evaluation.benchmarks.*.context": (500, {"benchmark_prompts", "respond"}),
    "evaluation.benchmarks.*.samples": (2, {"benchmark_requests"}),
    "evaluation.benchmarks.*.max_tasks": (3, {"tasks"}),
    "evaluation.benchmarks.*.decoding.temperature": (0.5, {"respond"}),
    "evaluation.benchmarks.*.decoding.top_p": (0.5, {"respond"}),
    "evaluation.benchmarks.*.decoding.top_k": (5, {"respond"}),
    "evaluation.benchmarks.*.decoding.repetition_penalty": (1.2, {"respond"}),
    "evaluation.benchmarks.*.decoding.max_tokens": (40, {"benchmark_prompts", "respond"}),
    "evaluation.benchmarks.*.shards": (2, {"respond", "responses", "judge", "judgments"}),
    "evaluation.judge": ("second", {"register_judge", "judge_requests", "judge", "judgments", "scores"} | RATING),
    "evaluation.judges.*.path": ("other", {"register_judge", "judge_requests", "judge", "compare_requests", "compare"}),
    "evaluation.judges.*.context": (900, {"judge_requests", "judge", "compare_requests", "compare"}),
    "evaluation.judges.*.trusted": (True, NOTHING),
    # Pairs are compared by a letter where the judge's own verdict is about one answer.
    "evaluation.judges.*.verdict": (
        "score",
        {"judge_requests", "judge", "judgments", "scores", "report", "compare_requests", "compare", "compare_judgments"},
    ),
    # The judge prompt stands beside its scores.
    "evaluation.judges.*.template": ("template.txt", {"judge_requests", "scores", "compare_requests"}),
    "evaluation.judges.*.order": ("random", {"judge_requests", "judgments"}),
    "evaluation.judges.*.votes": (2, {"judge_requests", "judgments", "compare_requests", "compare_judgments"}),
    "evaluation.judges.*.decoding.temperature": (0.5, {"judge", "compare"}),
    "evaluation.judges.*.decoding.top_p": (0.5, {"judge", "compare"}),
    "evaluation.judges.*.decoding.top_k": (5, {"judge", "compare"}),
    "evaluation.judges.*.decoding.repetition_penalty": (1.2, {"judge", "compare"}),
    "evaluation.judges.*.decoding.max_tokens": (100, {"judge_requests", "judge", "compare_requests", "compare"}),
    "evaluation.judges.*.min_verdicts": (0.5, NOTHING),
    "evaluation.judges.*.least_mass": (0.5, {"judgments", "compare_judgments"}),
    "evaluation.judges.*.endpoint.url": ("http://localhost:2/v1", {"judge"}),
    "evaluation.judges.*.endpoint.model": ("y", {"judge"}),
    "evaluation.judges.*.endpoint.parameters": ({"temperature": None}, {"judge"}),
    **{f"evaluation.judges.*.endpoint.{key}": (value, NOTHING) for key, value in ENDPOINT_HERE.items()},
    "evaluation.validation": (
        "other.jsonl",
        {"published_answers", "published_requests", "judge_published", "published_judgments", "validation", "catalog"},
    ),
    "evaluation.bootstrap": (300, {"scores", "pair_quality"}),
    "evaluation.primary.metrics": ({"heldout": "win_rate"}, {"scores"}),
    "evaluation.primary.against": ("base", {"scores"}),
    "report.texts": ("none", NOTHING),
    "engine.backend": ("vllm", {"sample", "respond", "judge", "compare", "annotate"}),
    "engine.tensor_parallel": (2, NOTHING),
    "engine.prefix_caching": (False, NOTHING),
    "engine.gpu_memory": (0.5, NOTHING),
    "engine.cpu_cache_gib": (2, NOTHING),
    "environments.cpu": ("/other/python", NOTHING),
    "environments.gpu": ("/other/python", NOTHING),
}
# What simulated users ask and say.
SIMULATED = {"first_questions", "second_questions", "user_logs"}
_RANKED = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain", "guided"]}
_GUIDED = {"prompts": "dsat", "chosen": "guided", "rejected": "logged"}
# Methods that rank: by themselves with one vote and with several, by likelihood, by rankers; and
# those that ask other models than the previous policy.
RANKING_RECIPES = {
    "by-itself": _RANKED | {"rank": "self"},
    "rewarded": _RANKED | {"rank": "rewards"},
    "voting": _RANKED | {"rank": "self", "self_ranking": {"votes": 3, "decoding": {"temperature": 1.0}}},
    "cream": _RANKED | {"rank": "likelihood", "training": {"losses": {"cream": 1.0}}},
    "temporal": _RANKED | {"rank": "self", "candidates": ["plain", "plain@initial", "plain@future"]},
    "mixed": _GUIDED | {"mix": {"side": "plain@initial", "shares": [0.5]}},
    "written": _GUIDED | {"chosen": "written", "writer": "tiny"},
    "checked": _RANKED | {"rejected": "logged", "rank": "wishes", "min_score": 1.0},
    "kto": {"prompts": "unpaired", "training": {"losses": {"kto": 1.0}}},
    "sdpo": {"prompts": "unpaired", "training": {"losses": {"sdpo": 1.0}}},
}
# The same as KEYS of a run with these methods, whose users are simulated, and whose replies a
# classifier labels.
RANKING_KEYS = {
    "data.labelers.*.path": ("model", {"classify"}),
    "data.labelers.*.context": (512, {"classify"}),
    "data.labelers.*.reads": (["response", "feedback"], {"classify"}),
    "data.labelers.*.shards": (2, {"classify", "labels"}),
    # What a class stands for is read from what the classifier said before.
    "data.labelers.*.classes": ({"good": "SAT", "bad": "NEUTRAL"}, {"labels"}),
    "recipes.*.candidates": (["plain", "guided", "guided"], {"requests"}),
    "recipes.*.rank": ("judge", {"register_judge", "rank_requests", "rank"}),
    "sampling.cut": ("drop", {"pairs", "unpaired", "candidates", "rewards", "likelihoods", "pair_scores"}),
    "recipes.*.mix.side": ("plain", {"requests", "pairs"}),
    "recipes.*.mix.shares": ([0.2], {"pairs"}),
    "recipes.*.self_ranking.votes": (2, {"rank_requests", "rank_judgments"}),
    "recipes.*.self_ranking.decoding.temperature": (0.5, {"rank"}),
    "recipes.*.self_ranking.decoding.top_p": (0.5, {"rank"}),
    "recipes.*.self_ranking.decoding.top_k": (5, {"rank"}),
    "recipes.*.self_ranking.decoding.repetition_penalty": (1.2, {"rank"}),
    "recipes.*.self_ranking.decoding.max_tokens": (40, {"rank_requests", "rank"}),
    "rankers.*.kind": (None, {"rewards", "pair_scores"}),  # there is one kind
    "rankers.*.path": ("model", {"rewards", "pair_scores", "answer_rewards"}),
    "rankers.*.max_length": (99, {"rewards", "pair_scores", "answer_rewards"}),
    "rankers.*.weights": ({"bad": 0.0, "good": 1.0}, {"rewards", "pair_scores", "answer_rewards"}),
    "rankers.*.on_topic": (True, {"rewards", "pair_scores"}),
    "rankers.*.wrong": (0.1, {"rewards", "pair_scores"}),
    "recipes.*.min_score": (0.5, {"pairs"}),
    # A row of kto sets them, with all that is its own.
    "training.label_weights.desirable": (None, {"train"}),
    "training.label_weights.undesirable": (None, {"train"}),
    "training.pairs": (3, {"pairs", "unpaired"}),
    "training.diagnostics.answers": (3, {"improvement"}),
    "exploration.benchmark": ("heldout", {"embedder", "embed", "answer_rewards", "embedding_coverage", "landscape"}),
    "exploration.iterations": (None, NOTHING),  # there is one
    "exploration.embedder.path": ("model", {"embedder", "embed"}),
    "exploration.embedder.max_length": (99, {"embed"}),
    "exploration.reward": ("wishes", {"answer_rewards"}),
    "exploration.neighbours": (10, {"embedder", "landscape"}),
    "exploration.maps": (2, {"landscape"}),
    "training.diagnostics.pairs": (3, {"diagnostics", "improvement"}),
    "recipes.*.writer": ("judge", {"register_judge", "requests_of", "sample_of"}),
    "data.sources.*.simulation.path": (
        "judge",
        {"register_deployed", "first_questions", "second_questions", "answer_users"},
    ),
    "data.sources.*.simulation.max_prompts": (5, SIMULATED),
    "data.sources.*.simulation.samples": (2, SIMULATED),
    "data.sources.*.simulation.context": (500, SIMULATED | {"answer_users"}),
    "data.sources.*.simulation.wrong": (0.1, SIMULATED),
    "data.sources.*.simulation.ask_again": (0.5, SIMULATED),
    "data.sources.*.simulation.shards": (2, {"answer_users", "second_questions", "user_logs"}),
    "data.sources.*.simulation.decoding.temperature": (0.5, {"answer_users"}),
    "data.sources.*.simulation.decoding.top_p": (0.5, {"answer_users"}),
    "data.sources.*.simulation.decoding.top_k": (5, {"answer_users"}),
    "data.sources.*.simulation.decoding.repetition_penalty": (1.2, {"answer_users"}),
    "data.sources.*.simulation.decoding.max_tokens": (40, SIMULATED | {"answer_users"}),
    "data.sources.*.simulation.endpoint.url": ("http://localhost:2/v1", {"answer_users"}),
    "data.sources.*.simulation.endpoint.model": ("y", {"answer_users"}),
    "data.sources.*.simulation.endpoint.parameters": ({"temperature": None}, {"answer_users"}),
    # The same section as a labeler's, above: planned there.
    **{f"data.sources.*.simulation.endpoint.{key}": (None, NOTHING) for key in ENDPOINT_HERE},
}
# Of a run with data that come after the start.
LATER_KEYS = {
    "recipes.*.fresh": (1.0, {"requests", "pairs"}),
    "data.sources.*.from_iteration": (2, {"later_turns", "later_pools", "requests", "pairs"}),
    # The data of an iteration are one for all policies then, and are made once more.
    "data.sources.*.simulation.deployed": (
        "fixed",
        {"later_turns", "later_labels", "later_pools", "later_prompts", "requests", "pairs", "rated_pairs", "train", "ledger"},
    ),
}
# A run by another name is another run.
NOT_LISTED = {"run"}


def keys_of(section: type[Section], prefix: str = "") -> set[str]:
    """Every key that a configuration may set; * stands for the names in a table of rows."""
    found = set()
    for name, field in section.model_fields.items():
        found |= _keys_of_type(field.annotation, prefix + name)
    return found


def _keys_of_type(kind, key: str) -> set[str]:
    if isinstance(kind, type) and issubclass(kind, Overrides):
        return {key}
    if isinstance(kind, type) and issubclass(kind, Section):
        return keys_of(kind, f"{key}.")
    if get_origin(kind) is dict and isinstance(get_args(kind)[1], type) and issubclass(get_args(kind)[1], Section):
        return keys_of(get_args(kind)[1], f"{key}.*.")
    if get_origin(kind) is UnionType:
        sections = set().union(*(_keys_of_type(part, key) for part in get_args(kind)))
        return sections - {key} or {key}
    return {key}
