"""The engines that generate: vLLM, and transformers where vLLM cannot be installed.

An engine takes request rows and gives completion rows, in any order. It gets token ids, so no engine adds a special token of
its own, and it takes every decoding value from the settings, none from the model's generation_config.json.
"""

import os
from pathlib import Path
from typing import Protocol

from drift.chat import load_tokenizer
from drift.cli import StageError
from drift.progress import Progress

# Prompt and reply share the context. A request that is longer was not fitted, and is a fault of the stage before.
_TOO_LONG = "request {} has {} prompt tokens, which leaves no room for {} more in a context of {}; fit the prompts first"


class EngineProtocol(Protocol):
    """What `generate.py` needs of an engine."""

    def generate(self, requests: list[dict]) -> list[dict]:
        """Completion rows (without policy_hash) for request rows."""


def load_engine(policy: Path, settings: dict, hardware: dict) -> EngineProtocol:
    """The engine that `settings["backend"]` names, with the model of folder `policy` loaded.

    `settings` shape the result: backend, context, decoding, choices (allowed answers, judged by their first token; null for
    free text). `hardware` does not: tensor_parallel, gpu_memory, cpu_cache_gib.
    """
    backend = {"vllm": VllmEngine, "transformers": TransformersEngine}[settings["backend"]]
    return backend(policy, settings, hardware)


def _choice_tokens(tokenizer, choices: list[str] | None) -> dict[int, str] | None:
    """The allowed answers by their token; None for free text. Raises StageError for an answer that is not one token."""
    if choices is None:
        return None
    ids = [tokenizer.encode(choice, add_special_tokens=False) for choice in choices]
    if any(len(tokens) != 1 for tokens in ids):
        raise StageError(
            f"the answers {choices} are not single tokens of this judge's vocabulary; use a judge for which they are"
        )
    return {tokens[0]: choice for tokens, choice in zip(ids, choices, strict=True)}


def _check_lengths(requests: list[dict], settings: dict) -> None:
    context, max_tokens = settings["context"], 1 if settings["choices"] else settings["decoding"]["max_tokens"]
    for request in requests:
        if len(request["prompt_token_ids"]) + max_tokens > context:
            raise StageError(_TOO_LONG.format(request["request_id"], len(request["prompt_token_ids"]), max_tokens, context))


class VllmEngine:
    """vLLM on GPU or CPU."""

    def __init__(self, policy: Path, settings: dict, hardware: dict):
        # One engine, one process: starting two more costs longer than a small shard takes.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(hardware["cpu_cache_gib"]))
        import torch
        from vllm import LLM

        self.settings = settings
        on_cpu = not torch.cuda.is_available()
        # On a CPU, seeded requests crash when a prompt is read in chunks, so a whole prompt has to fit one batch.
        options = {
            "enforce_eager": True,
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(settings["context"], 2048),
        }
        self.llm = LLM(
            str(policy),
            dtype="bfloat16",
            seed=0,
            max_model_len=settings["context"],
            generation_config="vllm",
            tensor_parallel_size=hardware["tensor_parallel"],
            gpu_memory_utilization=hardware["gpu_memory"],
            **(options if on_cpu else {}),
        )
        self.choices = _choice_tokens(self.llm.get_tokenizer(), settings["choices"])

    def generate(self, requests: list[dict]) -> list[dict]:
        """Completion rows for request rows; every request has its own seed."""
        _check_lengths(requests, self.settings)
        outputs = self.llm.generate(
            [{"prompt_token_ids": request["prompt_token_ids"]} for request in requests],
            [self._sampling(request["seed"]) for request in requests],
            use_tqdm=Progress,
        )
        return [self._completion(request, output) for request, output in zip(requests, outputs, strict=True)]

    def _sampling(self, seed: int):
        from vllm import SamplingParams

        if self.choices:
            return SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=list(self.choices))
        return SamplingParams(seed=seed, **self.settings["decoding"])

    def _completion(self, request: dict, output) -> dict:
        if list(output.prompt_token_ids) != request["prompt_token_ids"]:
            raise StageError(f"vLLM read other tokens than request {request['request_id']} asked for")
        reply = output.outputs[0]
        logprobs = self.choices and [
            {"choice": choice, "logprob": reply.logprobs[0][token].logprob} for token, choice in self.choices.items()
        ]
        return {
            "request_id": request["request_id"],
            "text": reply.text,
            "finish_reason": reply.finish_reason,
            "prompt_tokens": len(output.prompt_token_ids),
            "completion_tokens": len(reply.token_ids),
            "choice_logprobs": logprobs or None,
            "error": None,
        }


class TransformersEngine:
    """Hugging Face generate: slower, no per-request seeds; a batch takes the seed of its first request."""

    BATCH = 16

    def __init__(self, policy: Path, settings: dict, hardware: dict):
        import torch
        from transformers import AutoModelForCausalLM

        self.settings = settings
        self.tokenizer = load_tokenizer(policy)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = (
            AutoModelForCausalLM.from_pretrained(policy, dtype=torch.bfloat16, local_files_only=True).to(self.device).eval()
        )
        self.choices = _choice_tokens(self.tokenizer, settings["choices"])

    def generate(self, requests: list[dict]) -> list[dict]:
        """Completion rows for request rows, in batches of similar length."""
        _check_lengths(requests, self.settings)
        ordered = sorted(requests, key=lambda request: (len(request["prompt_token_ids"]), request["request_id"]))
        batches = [ordered[start : start + self.BATCH] for start in range(0, len(ordered), self.BATCH)]
        return [row for batch in Progress(batches, desc="batches") for row in self._batch(batch)]

    def _batch(self, requests: list[dict]) -> list[dict]:
        import torch
        from transformers import GenerationConfig

        decoding = self.settings["decoding"]
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        width = max(len(request["prompt_token_ids"]) for request in requests)
        padding = [width - len(request["prompt_token_ids"]) for request in requests]
        ids = torch.tensor([[pad] * n + request["prompt_token_ids"] for n, request in zip(padding, requests, strict=True)])
        mask = torch.tensor([[0] * n + [1] * (width - n) for n in padding])
        if self.choices:
            with torch.no_grad():
                logits = self.model(ids.to(self.device), attention_mask=mask.to(self.device), logits_to_keep=1).logits[:, -1]
            logprobs = logits.float().log_softmax(-1).cpu()
            return [self._verdict(request, row) for request, row in zip(requests, logprobs, strict=True)]
        greedy = decoding["temperature"] == 0
        drawn = {} if greedy else {name: decoding[name] for name in ("temperature", "top_p", "top_k")}
        config = GenerationConfig(
            do_sample=not greedy,
            repetition_penalty=decoding["repetition_penalty"],
            max_new_tokens=decoding["max_tokens"],
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=pad,
            **drawn,
        )
        torch.manual_seed(requests[0]["seed"])
        with torch.no_grad():
            output = self.model.generate(ids.to(self.device), attention_mask=mask.to(self.device), generation_config=config)
        return [self._completion(request, row.tolist()) for request, row in zip(requests, output[:, width:], strict=True)]

    def _completion(self, request: dict, tokens: list[int]) -> dict:
        end = self.tokenizer.eos_token_id
        stopped = end in tokens
        tokens = tokens[: tokens.index(end) + 1] if stopped else tokens
        return self._row(
            request, self.tokenizer.decode(tokens, skip_special_tokens=True), "stop" if stopped else "length", len(tokens)
        )

    def _verdict(self, request: dict, logprobs) -> dict:
        best = int(logprobs.argmax())
        row = self._row(request, self.tokenizer.decode([best]), "length", 1)
        row["choice_logprobs"] = [
            {"choice": choice, "logprob": float(logprobs[token])} for token, choice in self.choices.items()
        ]
        return row

    def _row(self, request: dict, text: str, finish_reason: str, tokens: int) -> dict:
        return {
            "request_id": request["request_id"],
            "text": text,
            "finish_reason": finish_reason,
            "prompt_tokens": len(request["prompt_token_ids"]),
            "completion_tokens": tokens,
            "choice_logprobs": None,
            "error": None,
        }
