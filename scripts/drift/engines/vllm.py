"""vLLM, on GPU or CPU."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from drift.chat import load_tokenizer, stop_tokens
from drift.cli import StageError
from drift.engines import check_lengths, choice_tokens
from drift.policies import runs_bf16
from drift.progress import Progress
from drift.settings.sampling import EngineRuntime, GenerationSettings

# Tokens of a block of keys and values on a CPU.
_BLOCK = 32


def _bytes_of_a_token(policy: Path) -> float:
    """Bytes that the keys and values of a token take on a CPU, at most: some layers of some models
    keep fewer. Infinite where a model's config.json does not say."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(policy, local_files_only=True).get_text_config()
    all_heads = getattr(config, "num_attention_heads", None)
    if not all_heads:
        return math.inf
    heads = getattr(config, "num_key_value_heads", None) or all_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // all_heads
    return 2 * config.num_hidden_layers * heads * width * (2 if runs_bf16() else 4)


class VllmEngine:
    """One engine in this process, with the model of folder `policy`; the rest as of
    `load_engine`."""

    def __init__(self, policy: Path, settings: GenerationSettings, runtime: EngineRuntime, longest: Sequence[int]):
        # One engine, one process: starting two more takes longer than a small shard.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        import torch
        from vllm import LLM

        self.settings = settings
        self.usage = {}
        self.decoding = settings.decoding
        options = {} if torch.cuda.is_available() else self._options_on_cpu(policy, runtime, longest)
        if settings.json_schema:
            # White space is legal anywhere in JSON, and a small model can fill its whole reply with
            # it. It has to be forbidden here: vLLM takes the same option with a request, and
            # ignores it.
            options["structured_outputs_config"] = {"backend": "xgrammar", "disable_any_whitespace": True}
        self.llm = LLM(
            str(policy),
            dtype="bfloat16" if runs_bf16() else "float32",
            seed=0,
            max_model_len=settings.context,
            generation_config="vllm",
            tensor_parallel_size=runtime.tensor_parallel,
            gpu_memory_utilization=runtime.gpu_memory,
            enable_prefix_caching=runtime.prefix_caching,
            **options,
        )
        tokenizer = load_tokenizer(policy)
        self.stops = stop_tokens(tokenizer, policy)
        self.choices = choice_tokens(tokenizer, settings.choices)

    def _options_on_cpu(self, policy: Path, runtime: EngineRuntime, longest: Sequence[int]) -> dict:
        """What vLLM needs on a CPU."""
        cache = runtime.cpu_cache_gib * 2**30
        if longest:
            # It is filled with zeros at the start, some seconds for each GiB. No more than all
            # requests take at once, and no less than vLLM wants: one of the whole context.
            tokens = max(self.settings.context, sum(length + _BLOCK for length in longest))
            cache = min(cache, tokens * _bytes_of_a_token(policy))
        options = {
            "enforce_eager": True,
            # Seeded requests crash when a prompt is read in chunks: a batch has room for all of it.
            "enable_chunked_prefill": False,
            # The least that vLLM has on a CPU: prompts have a short beginning in common, or two
            # samples of one prompt most of it, and it is read once where it fills a block.
            "block_size": _BLOCK,
            "kv_cache_memory_bytes": cache,
            "max_num_batched_tokens": max(self.settings.context, 2048),
        }
        if self.decoding:
            options["logits_processors"] = self._processors_on_cpu()
        return options

    def _processors_on_cpu(self) -> list:
        """Logits processors that do what vLLM, which is not asked for it any more, takes long to
        do on a CPU."""
        from drift.engines import cpu_sampling

        decoding = self.decoding
        processors = []
        if decoding.repetition_penalty != 1:
            processors.append(cpu_sampling.repetition_processor(decoding.repetition_penalty))
        if decoding.temperature and (decoding.top_k or decoding.top_p < 1):
            processors.append(cpu_sampling.nucleus_processor(decoding.top_k, decoding.top_p))
        self.decoding = decoding.model_copy(update={"repetition_penalty": 1.0, "top_k": 0, "top_p": 1.0})
        return processors

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
        schema = self.settings.json_schema
        return SamplingParams(
            seed=seed,
            temperature=self.decoding.temperature,
            top_p=self.decoding.top_p,
            top_k=self.decoding.top_k,
            repetition_penalty=self.decoding.repetition_penalty,
            max_tokens=self.decoding.max_tokens,
            stop=list(self.decoding.stop),
            stop_token_ids=self.stops,
            # A control token within a reply stays to be seen: without it, two turns would read as
            # one.
            skip_special_tokens=False,
            spaces_between_special_tokens=False,
            structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
        )

    def _completion(self, request: dict, output) -> dict:
        if list(output.prompt_token_ids) != request["prompt_token_ids"]:
            raise StageError(
                f"vLLM read other tokens than request {request['request_id']} has; is its version the one of envs/?"
            )
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
