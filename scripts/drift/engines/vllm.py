"""vLLM, on GPU or CPU."""

import os
from pathlib import Path

from drift.cli import StageError
from drift.engines import check_lengths, choice_tokens
from drift.progress import Progress


class VllmEngine:
    """One engine in this process, with the model of folder `policy`."""

    def __init__(self, policy: Path, settings: dict, runtime: dict):
        # One engine, one process: starting two more costs longer than a small shard takes.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(runtime["cpu_cache_gib"]))
        import torch
        from vllm import LLM

        self.settings = settings
        self.usage = {}
        on_cpu = not torch.cuda.is_available()
        # On a CPU, seeded requests crash when a prompt is read in chunks, so a whole prompt has to fit one batch.
        options = {
            "enforce_eager": True,
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(settings["context"], 2048),
        }
        self.decoding = settings["decoding"]
        if on_cpu and self.decoding and self.decoding["temperature"] and (self.decoding["top_k"] or self.decoding["top_p"] < 1):
            from drift.engines import cpu_sampling

            options["logits_processors"] = [cpu_sampling.processor(self.decoding["top_k"], self.decoding["top_p"])]
            self.decoding = self.decoding | {"top_k": 0, "top_p": 1.0}
        # White space is legal anywhere in JSON, and a small model can fill its whole reply with it. That it may not has to be told
        # to the engine: vLLM takes the same wish with a request, and ignores it.
        structured = {"structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True}}
        self.llm = LLM(
            str(policy),
            dtype="bfloat16",
            seed=0,
            max_model_len=settings["context"],
            generation_config="vllm",
            tensor_parallel_size=runtime["tensor_parallel"],
            gpu_memory_utilization=runtime["gpu_memory"],
            enable_prefix_caching=runtime["prefix_caching"],
            **(options if on_cpu else {}),
            **(structured if settings["schema"] else {}),
        )
        self.choices = choice_tokens(self.llm.get_tokenizer(), settings["choices"])

    def generate(self, requests: list[dict]) -> list[dict]:
        """Completion rows for request rows; every request has its own seed."""
        check_lengths(requests, self.settings)
        outputs = self.llm.generate(
            [{"prompt_token_ids": request["prompt_token_ids"]} for request in requests],
            [self._sampling(request["seed"]) for request in requests],
            use_tqdm=Progress,
        )
        return [self._completion(request, output) for request, output in zip(requests, outputs, strict=True)]

    def _sampling(self, seed: int):
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        if self.choices:
            return SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=list(self.choices))
        schema = self.settings["schema"]
        structure = schema and StructuredOutputsParams(json=schema)
        return SamplingParams(seed=seed, structured_outputs=structure, **self.decoding)

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
