"""What a model costs to train and to sample from: parameters, memory, arithmetic, by formulas.

Memory is in bytes and of one GPU unless stated otherwise, arithmetic in floating-point operations
(a multiplication and an addition count as two), N is the number of parameters.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from drift.workflow.machines import Machine

GIB = 2**30

# Bytes that an optimizer keeps per parameter: one fp32 average (rmsprop) or two (Adam). Adafactor
# keeps a row and a column.
OPTIMIZER_BYTES = {"rmsprop": 4, "adamw_torch": 8, "adamw_torch_fused": 8, "adafactor": 0.05, "sgd": 0}
SHARDED = ("zero3", "fsdp2")

# Columns of the vocabulary that TRL's LM head scores at once
# (trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE, TRL 1.16).
HEAD_COLUMNS = 32768
# CUDA context, cuBLAS and NCCL workspaces, and what the allocator cannot use: an allowance, not a
# formula.
CUDA_BYTES = 1.5 * GIB
FRAGMENTATION = 0.05
# Parameters that ZeRO-3 gathers at once at most, and elements of its reduction bucket (DeepSpeed's
# defaults).
ZERO3_LIVE, ZERO3_BUCKET = 1e9, 5e8
# Tokens that vLLM reads in one step, and sequences that it answers at once (vLLM 0.32 on a GPU of
# less than 70 GB; larger ones take more, which changes the speed little).
VLLM_BATCH_TOKENS, VLLM_SEQUENCES = 8192, 256


@dataclass(frozen=True)
class Shape:
    """A decoder of the Llama family (Llama, Qwen2, SmolLM2, Mistral), as its config.json describes
    it."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    tied: bool = False
    query_bias: bool = False
    head_size: int | None = None

    @property
    def head(self) -> int:
        """Size of one attention head."""
        return self.head_size or self.hidden // self.heads

    @property
    def key_value_width(self) -> int:
        """Width of the keys, and of the values, of one token in one layer."""
        return self.key_value_heads * self.head

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer: attention, gated feed-forward, two norms."""
        query, pair = self.heads * self.head, 2 * self.key_value_width
        attention = self.hidden * (2 * query + pair) + (query + pair if self.query_bias else 0)
        return attention + 3 * self.hidden * self.intermediate + 2 * self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding, and as many of the LM head unless they share them."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """N, all of them."""
        return self.layers * self.layer_parameters + self.hidden + self.embedding_parameters * (1 if self.tied else 2)

    @property
    def matrix_parameters(self) -> int:
        """Parameters that each token is multiplied with: all but those of the embedding, which is a
        look-up."""
        return self.layers * self.layer_parameters + self.embedding_parameters

    def lora_parameters(self, rank: int) -> int:
        """Parameters of adapters of `rank` on every linear layer but the head.

        Two thin matrices each (Hu et al. 2021, arXiv 2106.09685).
        """
        query, width = self.heads * self.head, self.key_value_width
        shapes = [(self.hidden, query), (self.hidden, width), (self.hidden, width), (query, self.hidden)]
        shapes += [(self.hidden, self.intermediate)] * 2 + [(self.intermediate, self.hidden)]
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in shapes)

    def key_value_bytes(self) -> int:
        """Cache of one token: keys and values of every layer in bf16."""
        return 2 * self.layers * self.key_value_width * 2


@dataclass(frozen=True)
class TrainingSetup:
    """How a training runs: what of section `training` its memory and speed depend on."""

    optimizer: str
    precision: str
    device_batch: int  # pairs at once on one GPU
    max_length: int  # tokens of prompt and reply
    gradient_checkpointing: bool
    launcher: str
    lora_rank: int | None  # None: all weights are trained
    gpus: int = 1


# Shapes by the name in a model's address. Source: config.json of each model on the Hugging Face
# Hub.
SHAPES = {
    "qwen2.5-0.5b": Shape(896, 24, 14, 2, 4864, 151936, tied=True, query_bias=True),
    "qwen2.5-1.5b": Shape(1536, 28, 12, 2, 8960, 151936, tied=True, query_bias=True),
    "qwen2.5-3b": Shape(2048, 36, 16, 2, 11008, 151936, tied=True, query_bias=True),
    "qwen2.5-7b": Shape(3584, 28, 28, 4, 18944, 152064, query_bias=True),
    "qwen2.5-14b": Shape(5120, 48, 40, 8, 13824, 152064, query_bias=True),
    "qwen2.5-32b": Shape(5120, 64, 40, 8, 27648, 152064, query_bias=True),
    "qwen2.5-72b": Shape(8192, 80, 64, 8, 29568, 152064, query_bias=True),
    "llama-3.1-8b": Shape(4096, 32, 32, 8, 14336, 128256),
    "llama-3.1-70b": Shape(8192, 80, 64, 8, 28672, 128256),
    "smollm2-135m": Shape(576, 30, 9, 3, 1536, 49152, tied=True),
    "smollm2-360m": Shape(960, 32, 15, 5, 2560, 49152, tied=True),
    "smollm2-1.7b": Shape(2048, 24, 32, 32, 8192, 49152, tied=True),
}


def shape_of(config_file: Path) -> Shape:
    """The shape that a model's config.json describes. Raises KeyError where it is not of this
    family."""
    config = json.loads(config_file.read_text())
    return Shape(
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        key_value_heads=config.get("num_key_value_heads", config["num_attention_heads"]),
        intermediate=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        tied=config.get("tie_word_embeddings", False),
        query_bias=config["model_type"] == "qwen2",
        head_size=config.get("head_dim"),
    )


def scaled_shape(parameters: float) -> Shape:
    """A shape of about `parameters` parameters, for a model of which only the size is known.

    The nearest of SHAPES, with more layers or fewer.
    """
    near = min(SHAPES.values(), key=lambda shape: abs(math.log(shape.parameters / parameters)))
    ends = near.parameters - near.layers * near.layer_parameters
    layers = max(1, round((parameters - ends) / near.layer_parameters))
    return Shape(**vars(near) | {"layers": layers})


def layer_activations(shape: Shape, wide: int) -> float:
    """Bytes per token that one layer keeps for its backward pass, with fused attention (no scores).

    After Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1), for a gated feed-forward and no
    dropout, in bf16: inputs of the two blocks, queries, keys, values and the attention's output; of
    the feed-forward the gate, its SiLU, the other half and their product. The two norms keep their
    input and its normalised value, each of `wide` bytes (4 under autocast).
    """
    attention = 2 * (2 * shape.hidden + 2 * shape.heads * shape.head + 2 * shape.key_value_width)
    return attention + 2 * 4 * shape.intermediate + 2 * 2 * wide * shape.hidden


def training_memory(shape: Shape, setup: TrainingSetup) -> dict[str, float]:
    """Bytes on each GPU at a training's peak, by what needs them.

    The reference's log-probabilities are computed before the training, so there is no second model.
    """
    return _with_overhead(_state_memory(shape, setup) | _activation_memory(shape, setup))


def _state_memory(shape: Shape, setup: TrainingSetup) -> dict[str, float]:
    """Weights, gradients, and the optimizer's state.

    Full training holds fp32 weights, fp32 gradients and the optimizer's state, and autocast keeps a
    bf16 copy of the weights; DDP adds a bucket for every gradient; FSDP2 shards the first three and
    gathers layers in bf16; ZeRO-3 shards bf16 weights and gradients, fp32 weights and the
    optimizer's state (Rajbhandari et al. 2020, arXiv 1910.02054: 2 + 2 + K bytes). Under LoRA the
    frozen weights are bf16 and only the adapters have gradients and state.
    """
    half, gpus = setup.precision == "bf16", setup.gpus
    total, optimizer = shape.parameters, OPTIMIZER_BYTES[setup.optimizer]
    if setup.lora_rank:
        adapters = shape.lora_parameters(setup.lora_rank)
        return {
            "weights": total * (2 if half else 4) + adapters * 4,
            "gradients": adapters * (8 if setup.launcher == "ddp" else 4),
            "optimizer": adapters * optimizer,
            "working copies": adapters * (2 if half else 0),
        }
    if setup.launcher == "zero3":
        return {
            "weights": total * (2 + 4) / gpus if half else total * 4 / gpus,
            "gradients": total * (2 if half else 4) / gpus,
            "optimizer": total * optimizer / gpus,
            "working copies": (2 if half else 4) * (min(total, ZERO3_LIVE) + min(total, ZERO3_BUCKET)),
        }
    if setup.launcher == "fsdp2":
        # Gathered: the layer in use, the next one, embedding and head; and the gradients of one
        # layer before they are scattered.
        ends = shape.embedding_parameters * (1 if shape.tied else 2)
        gathered = (2 if half else 4) * (2 * shape.layer_parameters + ends)
        return {
            "weights": total * 4 / gpus,
            "gradients": total * 4 / gpus,
            "optimizer": total * optimizer / gpus,
            "working copies": gathered + 4 * max(shape.layer_parameters, ends),
        }
    return {
        "weights": total * 4,
        "gradients": total * (8 if setup.launcher == "ddp" else 4),
        "optimizer": total * optimizer,
        "working copies": shape.matrix_parameters * (2 if half else 0),
    }


def _activation_memory(shape: Shape, setup: TrainingSetup) -> dict[str, float]:
    """What the forward pass of a batch keeps for the backward pass, and the LM head's scores."""
    half = setup.precision == "bf16"
    # Between layers activations are fp32 under autocast, and bf16 where the weights themselves are.
    wide = 2 if half and (setup.lora_rank or setup.launcher in SHARDED) else 4
    # Chosen and rejected, padded to the longest of the batch.
    tokens = 2 * setup.device_batch * setup.max_length
    layer = layer_activations(shape, wide) * (1 if half else 2)
    if setup.gradient_checkpointing:
        # The input of every layer is kept (Chen et al. 2016, arXiv 1604.06174), and one layer at a
        # time is computed again.
        activations = tokens * (shape.layers * wide * shape.hidden + layer)
    else:
        activations = tokens * shape.layers * layer
    # Scores of one block of the vocabulary and their gradient, and the gradient of the head itself,
    # in fp32.
    head = tokens * min(HEAD_COLUMNS, shape.vocabulary) * 4 + shape.embedding_parameters * 4
    return {"activations": activations, "LM head": head}


def reference_memory(shape: Shape, setup: TrainingSetup) -> dict[str, float]:
    """Bytes on each GPU while the reference's log-probabilities are computed.

    A whole model, in the precision of the training's weights, and no gradients.
    """
    half = setup.precision == "bf16"
    size = 2 if setup.lora_rank and half else 4
    tokens = 2 * setup.device_batch * setup.max_length
    return _with_overhead(
        {
            "weights": shape.parameters * size,
            "working copies": shape.matrix_parameters * (2 if half and size == 4 else 0),
            "activations": tokens * layer_activations(shape, size),
            "LM head": tokens * min(HEAD_COLUMNS, shape.vocabulary) * 4,
        }
    )


def gradient_memory(shape: Shape, length: int) -> dict[str, float]:
    """Bytes while the gradients of single pairs are measured: weights and gradients in fp32, and
    what the forward passes of both sides, of `length` tokens each, keep for the backward pass."""
    tokens = 2 * length
    # The input of every layer, and one layer at a time that is computed again, in fp32.
    layer = 2 * layer_activations(shape, 2)
    return _with_overhead(
        {
            "weights": shape.parameters * 4,
            "gradients": shape.parameters * 4,
            "activations": tokens * shape.layers * 4 * shape.hidden + length * layer,
            # Scores over the whole vocabulary, and their gradient, of a reply of half that length.
            "LM head": 2 * length / 2 * shape.vocabulary * 4 * 2,
        }
    )


def reading_memory(shape: Shape, length: int, models: int = 1) -> dict[str, float]:
    """Bytes while `models` of this shape, in fp32 on one GPU, read texts of `length` tokens one by
    one, half of each with scores over the whole vocabulary."""
    return _with_overhead(
        {
            "weights": models * shape.parameters * 4,
            "activations": length * 2 * layer_activations(shape, 2),
            "LM head": models * length / 2 * shape.vocabulary * 4 * 2,
        }
    )


def _with_overhead(memory: dict[str, float]) -> dict[str, float]:
    return memory | {"CUDA and fragmentation": CUDA_BYTES + FRAGMENTATION * sum(memory.values())}


def engine_memory(shape: Shape, context: int, tensor_parallel: int) -> dict[str, float]:
    """Bytes on each GPU that vLLM needs at least.

    bf16 weights, one batch of activations, and the cache of one sequence of `context` tokens, below
    which it refuses to start. All it gets beyond that is cache.
    """
    shared = min(tensor_parallel, shape.key_value_heads)
    tokens = max(VLLM_BATCH_TOKENS, context)
    return {
        "weights": shape.parameters * 2 / tensor_parallel,
        "activations": tokens * (4 * shape.hidden + 2 * 3 * shape.intermediate / tensor_parallel) * 2,
        "logits": VLLM_SEQUENCES * shape.vocabulary * 4 * 2,
        "key-value cache of one sequence": context * shape.key_value_bytes() / shared,
        "CUDA": CUDA_BYTES,
    }


def checkpoint_bytes(shape: Shape, setup: TrainingSetup) -> float:
    """Bytes on disk of a checkpoint: fp32 weights and the optimizer's state, of what is trained."""
    trained = shape.lora_parameters(setup.lora_rank) if setup.lora_rank else shape.parameters
    return trained * (4 + OPTIMIZER_BYTES[setup.optimizer])


def policy_bytes(shape: Shape) -> float:
    """Bytes on disk of a policy, in bf16."""
    return shape.parameters * 2


def remainder_bytes(shape: Shape, carry: str) -> float:
    """Bytes on disk of a policy's remainder: 16 bits a weight, or nothing."""
    return shape.parameters * 2 if carry == "fp32" else 0


def gathering_bytes(shape: Shape) -> float:
    """Bytes of host memory when a policy is written.

    The trained weights in fp32, which become its bf16 weights and its remainder one by one, and the
    bf16 policy that they are compared with.
    """
    return shape.parameters * (4 + 2)


def attention_flops(shape: Shape, length: float) -> float:
    """Operations per token of a forward pass in attention itself, over sequences of `length`
    tokens.

    Scores and weighted sum, 2 x 2 x width x length, of which a causal mask leaves half (Chowdhery
    et al. 2022, arXiv 2204.02311, appendix B).
    """
    return 2 * shape.layers * shape.heads * shape.head * length


def forward_flops(shape: Shape, length: float) -> float:
    """Operations per token of a forward pass: 2 N (Kaplan et al. 2020, arXiv 2001.08361) and
    attention."""
    return 2 * shape.matrix_parameters + attention_flops(shape, length)


def training_flops(shape: Shape, length: float, gradient_checkpointing: bool, lora: bool = False) -> float:
    """Operations per token of a training step, without the reference.

    Forward, backward (twice a forward; once where weights are frozen and only activations have
    gradients), and the forward that checkpointing repeats.
    """
    backward = 1 if lora else 2
    return forward_flops(shape, length) * (1 + backward + (1 if gradient_checkpointing else 0))


def decoding_rate(shape: Shape, machine: Machine, tensor_parallel: int, room: float, prompt: float, reply: float) -> float:
    """Replies per second of one engine, by the roofline: arithmetic bounds reading, memory writing.

    `room`: bytes of the cache over all GPUs of the engine. A step writes a token of each running
    sequence and reads the weights once and every sequence's cache (Pope et al. 2022, arXiv
    2211.05102, section 2).
    """
    length = prompt + reply
    # As many sequences run as the cache holds whole.
    running = max(1.0, min(VLLM_SEQUENCES, room / (length * shape.key_value_bytes())))
    arithmetic = machine.tflops * 1e12 * machine.prefill_share * tensor_parallel
    bandwidth = machine.bandwidth * 1e12 * machine.bandwidth_share * tensor_parallel
    reading = prompt * forward_flops(shape, prompt) / arithmetic
    # A step of all running sequences: the weights once (2 bytes each) and their caches, which are
    # half written on average; or its arithmetic, if that takes longer.
    step = (2 * shape.matrix_parameters + running * (prompt + reply / 2) * shape.key_value_bytes()) / bandwidth
    step = max(step, running * forward_flops(shape, length) / arithmetic)
    return 1 / (reading + reply * step / running)
