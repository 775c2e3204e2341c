"""Chat templates after the manner of model families: written anew, to do to a conversation what the
family's own does."""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

_ALTERNATE = (
    "{% for m in messages if m.role != 'system' %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}"
)
_NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
_THOUGHT = "<think>\\n\\n</think>\\n\\n"


def _chatml(before: str = "", content: str = "m.content", begins: str = "", between: str = "\n") -> str:
    return (
        before + "{% for m in messages %}<|im_start|>{{ m.role }}" + between + "{{ " + content + " }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant" + between + begins + "{% endif %}"
    )


def _default_system(text: str) -> str:
    return "{% if messages[0].role != 'system' %}<|im_start|>system\n" + text + "<|im_end|>\n{% endif %}"


_LLAMA_HEADER = "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
_LLAMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set messages = messages[1:] %}"
    "{% else %}{% set system = '' %}{% endif %}<|start_header_id|>system<|end_header_id|>\n\nKnowledge ends: December 2023\n"
    "Today: {{ strftime_now('%d %b %Y') }}\n\n{{ system }}<|eot_id|>{% for m in messages %}"
    + _LLAMA_HEADER
    + "{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_GEMMA_TURNS = (
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ first if loop.first }}{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_GEMMA2 = "{{ bos_token }}" + _NO_SYSTEM + _ALTERNATE + "{% set first = '' %}" + _GEMMA_TURNS
_GEMMA3 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}" + _ALTERNATE + _GEMMA_TURNS
)
_MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set messages = messages[1:] %}"
    "{% endif %}" + _ALTERNATE + "{% for m in messages %}{% if m.role == 'user' %}[INST] "
    "{% if loop.last and system is defined %}{{ system }}\n\n{% endif %}{{ m.content }}[/INST]"
    "{% else %} {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
# A thought is taken out of all replies but the last one, which gets an empty one where it has none.
_QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% if loop.last and '</think>' not in m.content %}"
    "{{ '" + _THOUGHT + "' }}{% endif %}{{ m.content if loop.last else m.content.split('</think>')[-1].lstrip('\n') }}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '" + _THOUGHT + "' }}{% endif %}{% endif %}"
)
_R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<|User|>{{ m.content }}{% elif m.role == 'assistant' %}"
    "<|Assistant|>{{ m.content.split('</think>')[-1] }}{{ eos_token }}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
_OLMO2 = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% if not loop.last or m.role != 'assistant' %}\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A template, the tokenizer's end of a sequence, and the other control tokens of the family."""

    template: str
    eos: str
    control: tuple[str, ...] = ()
    options: tuple[tuple[str, bool], ...] = ()


_CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
_GEMMA_TOKENS = ("<bos>", "<start_of_turn>", "<end_of_turn>")
FAMILIES = {
    "SmolLM2": Family(_chatml(_default_system("You are SmolLM.")), "<|im_end|>", _CHATML_TOKENS),
    "Qwen2.5": Family(_chatml(_default_system("You are Qwen.")), "<|im_end|>", _CHATML_TOKENS),
    "Qwen3": Family(_QWEN3, "<|im_end|>", _CHATML_TOKENS),
    "Qwen3, `enable_thinking: false`": Family(_QWEN3, "<|im_end|>", _CHATML_TOKENS, (("enable_thinking", False),)),
    "Llama 3.1": Family(_LLAMA, "<|eot_id|>", ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
    "Gemma 2": Family(_GEMMA2, "<eos>", _GEMMA_TOKENS),
    "Gemma 3": Family(_GEMMA3, "<eos>", _GEMMA_TOKENS),
    "Mistral v0.3": Family(_MISTRAL, "</s>", ("<s>", "[INST]", "[/INST]")),
    "Phi-4": Family(_chatml(between="<|im_sep|>"), "<|endoftext|>", (*_CHATML_TOKENS, "<|im_sep|>")),
    "OLMo 2": Family(_OLMO2, "<|endoftext|>"),
    "DeepSeek-R1 distilled": Family(_R1, "<|end_of_sentence|>", ("<|User|>", "<|Assistant|>")),
}


def bytewise(eos: str, control: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A tokenizer with a token for every byte and for each control token: made in no time."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bos = control[0] if control else eos
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=eos,
        bos_token=bos,
        additional_special_tokens=[token for token in control if token != eos],
    )


def write_family(family: Family, folder: Path) -> Path:
    """Write a tokenizer with the family's template to `folder`, which is returned."""
    tokenizer = bytewise(family.eos, family.control)
    tokenizer.chat_template = family.template
    tokenizer.save_pretrained(folder)
    return folder
