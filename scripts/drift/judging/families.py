"""Families of models, and judges that are of the family of a model that they judge.

Judges favour what they, or models trained on the same data, have written (Panickssery et al. 2024,
arXiv 2404.13076; Li et al. 2025, arXiv 2502.01534). A gain that such a judge sees may be a likeness
to itself.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.downloads import folder_name, is_remote
from drift.judging.protocols import judged

# Words of models' names and of their types in config.json, by family. Only where the name says
# nothing does the type count: many families have the type llama.
_FAMILIES = {
    "Qwen": ("qwen", "qwq"),
    "Llama": ("llama", "vicuna", "tulu"),
    "SmolLM": ("smollm",),
    "Mistral": ("mistral", "mixtral", "ministral", "mistralai", "zephyr"),
    "Gemma": ("gemma", "gemini"),
    "GPT": ("gpt", "chatgpt", "openai", "o1", "o3", "o4"),
    "Claude": ("claude", "anthropic"),
    "DeepSeek": ("deepseek",),
    "Phi": ("phi",),
    "OLMo": ("olmo",),
    "GLM": ("glm", "chatglm"),
    "Yi": ("yi",),
    "InternLM": ("internlm",),
    "Granite": ("granite",),
    "Falcon": ("falcon",),
    "Command": ("command", "cohere", "aya"),
}
# A name may go on with a version (Qwen2.5), but with no letter (dolphin is not Phi); the version of
# a type in config.json may have words after it (qwen2_moe).
_WORDS = {
    family: re.compile(rf"(?<![a-z0-9])(?:{'|'.join(words)})(?:\d[\d.]*)?(?![a-z])") for family, words in _FAMILIES.items()
}


@dataclass(frozen=True)
class Kinship:
    """A judge, and a model that it judges and is related to."""

    judge: str
    model: str
    families: tuple[str, ...]  # that both are of; none where the judge is the model itself

    @property
    def text(self) -> str:
        """What this means, in a sentence or two."""
        related = f"is of the family of {self.model}, which it judges ({', '.join(self.families)})"
        return (
            f"judge {self.judge} {related if self.families else f'is the model {self.model} itself, whose policies it judges'}. "
            "Judges favour what models of their own kind write (arXiv 2404.13076, 2502.01534): compare with a judge of another "
            "family before you believe a gain"
        )


def kinships(config: dict[str, Any]) -> list[Kinship]:
    """The judges of a validated configuration's benchmarks that are related to a model of the run,
    each with every such model."""
    found = []
    for judge in dict.fromkeys(judge for _, judge in judged(config)):
        row = config["evaluation"]["judges"][judge]
        own = _named(row["endpoint"]["model"]) if row["endpoint"] else families(row["path"])
        for model, improved in config["models"].items():
            itself = row["path"] == improved["path"]
            shared = own & families(improved["path"])
            if itself or shared:
                found.append(Kinship(judge, model, () if itself else tuple(sorted(shared))))
    return found


def families(address: str) -> set[str]:
    """The families of the model at an address: by its name, else by its files where they are here;
    several of a model that is distilled from another family's."""
    folder = Path("downloads", folder_name(address)) if is_remote(address) else Path(address)
    return _named(address.split("#")[0] if is_remote(address) else folder.name) or _of_files(folder)


def _named(name: str) -> set[str]:
    return {family for family, words in _WORDS.items() if words.search(name.lower())}


def _of_files(folder: Path) -> set[str]:
    base = _read(folder / "adapter_config.json").get("base_model_name_or_path")
    if isinstance(base, str):
        return families(base)
    return _named(str(_read(folder / "config.json").get("model_type", "")).replace("_", " "))


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
