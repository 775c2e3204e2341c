"""Register a chat model as a policy.

Reads:  a model folder (--model): safetensors in Hugging Face layout; or one GGUF file, which is
        dequantised; or PEFT's adapters, which are merged into the model that they name, a local
        folder.
Writes: the policy's folder (--policy) and, last, its manifest policy.json (--manifest).

Files of a local model are linked, not copied, but for a chat template whose options are set.
"""

import _python  # noqa: F401 - before what may be missing
import json
import sys
from functools import cache
from pathlib import Path

from drift import cli, policies
from drift.chat import TODAY, ChatRefusedError, load_tokenizer, reads_clock, render, untrainable, write_template
from drift.settings.sampling import RegisterSettings


def link_model(model: Path, folder: Path) -> None:
    """Link the files of folder `model` into `folder`."""
    for file in sorted(model.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            (folder / file.name).symlink_to(file.resolve())


def convert_gguf(file: Path, folder: Path) -> None:
    """Dequantise a GGUF model to bf16 safetensors, with its tokenizer and chat template.

    transformers refuses to save a model that was loaded quantised, so its weights are moved into a
    new one.
    """
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # transformers parses the file three times, which takes seconds each, and makes the map of names
    # anew for every module of the model.
    gguf.GGUFReader = cache(gguf.GGUFReader)
    gguf.get_tensor_name_map = cache(gguf.get_tensor_name_map)
    quantised = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    config = quantised.config
    del config.quantization_config
    model = type(quantised)(config)
    model.load_state_dict(quantised.state_dict())
    model.tie_weights()
    policies.save(model.to(torch.bfloat16), folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


def merge_adapters(adapters: Path, folder: Path) -> None:
    """Merge PEFT's adapters into the model that their configuration names, in fp32, and round once
    to bf16. Raises StageError where that model is not here.

    The tokenizer is that of the adapters where they bring one: they were trained with its chat
    template.
    """
    model = Path(json.loads((adapters / "adapter_config.json").read_text())["base_model_name_or_path"])
    if not model.is_dir():
        raise cli.StageError(
            f"{adapters} holds adapters of {model}, and there is no such folder; name the folder of that model "
            "in adapter_config.json (base_model_name_or_path)"
        )
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model_in_fp32 = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, local_files_only=True)
    merged = PeftModel.from_pretrained(model_in_fp32, adapters).merge_and_unload()
    policies.save(merged.to(torch.bfloat16), folder)
    brings_tokenizer = (adapters / "tokenizer_config.json").is_file()
    load_tokenizer(adapters if brings_tokenizer else model).save_pretrained(folder)


def probe_template(folder: Path) -> list[str]:
    """What the chat template of a policy will do to conversations. Raises StageError where the
    tokenizer of the policy cannot be used."""
    tokenizer = load_tokenizer(folder)
    found = []
    if reads_clock(tokenizer):
        found.append(f"the chat template asks for the date; it is {TODAY} in all stages, and in the policies that are trained")
    try:
        render(tokenizer, [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which?"}])
    except ChatRefusedError as refused:
        found.append(f"prompts with a system message are left out, and the ledger counts them ({refused.__cause__})")
    if fault := untrainable(tokenizer):
        found.append(f"this model can judge, and cannot be trained: {fault}")
    return found


def main() -> None:
    command = cli.parser(__doc__, RegisterSettings)
    command.add_argument("--model", required=True, type=Path, help="folder of the model")
    command.add_argument("--policy", required=True, type=Path, help="folder to write")
    command.add_argument("--manifest", required=True, type=Path, help="policy.json to write")
    arguments = command.parse_args()
    settings: RegisterSettings = arguments.settings

    if not arguments.model.is_dir():
        raise cli.StageError(
            f"there is no model folder {arguments.model}; fix the path that names it (models.NAME.path, "
            "evaluation.judges.NAME.path or data.labelers.NAME.path)"
        )
    arguments.policy.mkdir(parents=True)
    gguf = sorted(arguments.model.glob("*.gguf"))
    if gguf:
        convert_gguf(gguf[0], arguments.policy)
    elif (arguments.model / "adapter_config.json").is_file():
        merge_adapters(arguments.model, arguments.policy)
    else:
        link_model(arguments.model, arguments.policy)
    if settings.chat_template_kwargs:
        write_template(arguments.policy, settings.chat_template_kwargs)
    for finding in probe_template(arguments.policy):
        print(f"warning: {settings.path}: {finding}", file=sys.stderr)
    manifest = {
        "name": settings.name,
        "weights_sha256": policies.weights_sha256(arguments.policy),
        "parent_sha256": None,
        "settings": settings.model_dump(mode="json"),
        "versions": policies.versions(),
    }
    policies.write_manifest(arguments.manifest, manifest)


if __name__ == "__main__":
    cli.run(main)
