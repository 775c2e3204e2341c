"""Hugging Face generate, for machines where vLLM cannot be installed."""

from pathlib import Path

from drift.chat import load_tokenizer, stop_tokens
from drift.engines import check_lengths, choice_tokens
from drift.policies import runs_bf16
from drift.progress import Progress
from drift.settings.sampling import DecodingSettings, GenerationSettings


class TransformersEngine:
    """Hugging Face generate, in batches of similar length. A reply is drawn with its request's own
    seed, whatever the batch."""

    BATCH = 16

    def __init__(self, policy: Path, settings: GenerationSettings):
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig

        self.settings = settings
        self.usage = {}
        if settings.json_schema:
            print("the transformers backend does not enforce the JSON schema: some replies may not follow it")
        self.tokenizer = load_tokenizer(policy)
        self.stops = stop_tokens(self.tokenizer, policy)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if runs_bf16() else torch.float32
        self.model = AutoModelForCausalLM.from_pretrained(policy, dtype=dtype, local_files_only=True).to(self.device).eval()
        # Whatever a request leaves open, such as min_new_tokens, would come from the model's own.
        self.model.generation_config = GenerationConfig()
        self.choices = choice_tokens(self.tokenizer, settings.choices)

    def generate(self, requests: list[dict]) -> list[dict]:
        """Completion rows for request rows, in batches of similar length."""
        check_lengths(requests, self.settings)
        return [row for batch in self._batches(requests) for row in self._batch(batch)]

    def sampled(self, requests: list[dict]) -> list[list[int]]:
        """The token ids of each request's reply, in the order of the requests; the end of turn
        included where the model wrote it."""
        place = {request["request_id"]: number for number, request in enumerate(requests)}
        replies: list[list[int]] = [[] for _ in requests]
        for batch in self._batches(requests):
            for request, tokens in zip(batch, self._sample(batch), strict=True):
                replies[place[request["request_id"]]] = tokens
        return replies

    def _batches(self, requests: list[dict]) -> Progress:
        ordered = sorted(requests, key=lambda request: (len(request["prompt_token_ids"]), request["request_id"]))
        return Progress([ordered[start : start + self.BATCH] for start in range(0, len(ordered), self.BATCH)], desc="batches")

    def _batch(self, requests: list[dict]) -> list[dict]:
        if self.choices:
            return self._verdicts(requests)
        return [self._completion(request, tokens) for request, tokens in zip(requests, self._sample(requests), strict=True)]

    def _padded(self, requests: list[dict]):
        """Token ids and attention mask, batch x width, padded on the left: every row ends where its
        reply begins.

        A row is padded with a token of its own prompt: what pads is masked, but a repetition
        penalty counts it.
        """
        import torch

        width = max(len(request["prompt_token_ids"]) for request in requests)
        padding = [width - len(request["prompt_token_ids"]) for request in requests]
        prompts = [request["prompt_token_ids"] for request in requests]
        ids = torch.tensor([prompt[:1] * n + prompt for n, prompt in zip(padding, prompts, strict=True)])
        mask = torch.tensor([[0] * n + [1] * (width - n) for n in padding])
        return ids.to(self.device), mask.to(self.device)

    def _verdicts(self, requests: list[dict]) -> list[dict]:
        import torch

        ids, mask = self._padded(requests)
        with torch.no_grad():
            logits = self.model(ids, attention_mask=mask, logits_to_keep=1).logits[:, -1]
        logprobs = logits.float().log_softmax(-1).cpu()
        return [self._verdict(request, row) for request, row in zip(requests, logprobs, strict=True)]

    def _sample(self, requests: list[dict]) -> list[list[int]]:
        """The token ids of the batch's replies, the end of turn included."""
        import torch
        from transformers import GenerationConfig

        decoding = self.settings.decoding
        config = GenerationConfig(
            do_sample=False,
            repetition_penalty=decoding.repetition_penalty,
            max_new_tokens=decoding.max_tokens,
            eos_token_id=self.stops,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        draw = [] if decoding.temperature == 0 else self._draw(decoding, [request["seed"] for request in requests])
        ids, mask = self._padded(requests)
        with torch.no_grad():
            output = self.model.generate(ids, attention_mask=mask, generation_config=config, logits_processor=draw)
        replies = output[:, ids.shape[1] :].tolist()
        return [self._ended(tokens) for tokens in replies]

    def _ended(self, tokens: list[int]) -> list[int]:
        ends = [place for place, token in enumerate(tokens) if token in self.stops]
        return tokens[: ends[0] + 1] if ends else tokens

    def _draw(self, decoding: DecodingSettings, seeds: list[int]) -> list:
        """Logits processors that make the likeliest token a drawn one: temperature, top_k and
        top_p, then Gumbel noise of each row's own seed. The largest of log p + Gumbel noise is
        distributed as p (Gumbel-max)."""
        import torch
        from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        generators = [torch.Generator(self.device).manual_seed(seed) for seed in seeds]

        def noise(_, scores):
            # scores: batch x vocabulary. -log of an exponential variable is Gumbel noise.
            drawn = torch.stack(
                [torch.empty_like(row).exponential_(generator=g) for row, g in zip(scores, generators, strict=True)]
            )
            return scores - drawn.log()

        top_k = [TopKLogitsWarper(decoding.top_k)] if decoding.top_k else []
        return [TemperatureLogitsWarper(decoding.temperature), *top_k, TopPLogitsWarper(decoding.top_p), noise]

    def _completion(self, request: dict, tokens: list[int]) -> dict:
        stopped = tokens[-1] in self.stops
        # A control token within a reply stays to be seen: without it, two turns would read as one.
        text = self.tokenizer.decode(tokens[:-1] if stopped else tokens)
        stops = [text.index(stop) for stop in self.settings.decoding.stop if stop in text]
        text, stopped = (text[: min(stops)], True) if stops else (text, stopped)
        return self._row(request, text, "stop" if stopped else "length", len(tokens))

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
