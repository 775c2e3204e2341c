"""A policy as a folder for others: weights, tokenizer, and a model card that says what it was made
from, which checks it passed and how it scored.

    .venv/cpu/bin/python tools/export.py results/mine/my-3b/drift/seed42/iter2 shared/my-3b \
        --license apache-2.0

Reads:  the policy's folder, policy.json, gates.json and the pairs or single replies it was trained
        on, and of its run the resolved configuration, the scores and the ledger.
Writes: the folder, every file readable by all, with README.md in the hub's format and policy.json.

--push ORG/NAME uploads the folder to the hub at HF_ENDPOINT with the token in HF_TOKEN, to a
private repository unless --public is given. The card holds no text of a conversation. The licence
is yours to state: the base model's and that of the conversations bind what was trained on them.
"""

import _path  # noqa: F401 - must come before drift
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jinja2
import yaml

from _runs import PolicyFolder, interval, read_config, read_scores
from drift import cli, downloads, files, layout, policies
from drift.tables import Dsat, Pairs, Unpaired, read_table
from drift.workflow.arrivals import Arrivals

TEMPLATE = Path(__file__).resolve().parent / "model_card.md.j2"


def copy_policy(policy: PolicyFolder, manifest: dict, target: Path) -> None:
    """Copy a policy's files and manifest into `target`, readable by all.

    Raises StageError where the weights are not those of the manifest, or `target` is not empty.
    """
    source = Path(policy.paths.policy)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise cli.StageError(f"{target} is {'not empty' if target.is_dir() else 'a file'}: give a new folder")
    if not source.is_dir():
        raise cli.StageError(f"{source} is not there any more (pruned?): run the pipeline again for this policy")
    if policies.weights_sha256(source) != manifest["weights_sha256"]:
        raise cli.StageError(f"{source}: the weights are not those of policy.json: delete the policy and run again")
    target.mkdir(parents=True, exist_ok=True)
    copied = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
    for path in [*copied, Path(policy.paths.manifest)]:
        shutil.copyfile(path, target / path.name)
        (target / path.name).chmod(0o644)
    target.chmod(0o755)


def provenance(policy: PolicyFolder, config: dict) -> dict[str, Any]:
    """What a policy was trained from: model, sources, and how many rows, pairs or single
    replies."""
    paths = policy.paths
    later = _later_data(policy, config)
    dsat = read_table(Dsat, paths.later_dsat.format(later=later) if later else paths.dsat)
    pairs = read_table(Pairs, paths.pairs).height if Path(paths.pairs).is_file() else 0
    replies = read_table(Unpaired, paths.unpaired).height if Path(paths.unpaired).is_file() else 0
    sources = [
        {"name": name, "kind": row["kind"], "path": row["path"], "conversations": row["conversations"]}
        for name, row in config["data"]["sources"].items()
    ]
    return {
        "base": base_address(policy, config),
        "sources": sources,
        "labeler": config["data"]["labeler"],
        "dsat": {split: dsat.filter(split=split).height for split in ("train", "test")},
        "pairs": pairs,
        "replies": replies,
        "recipe": config["recipes"].get(policy.name.method),
    }


def base_address(policy: PolicyFolder, config: dict) -> str:
    """The address of the base model of a policy: by the base model's own manifest where the run has
    been started without the model since."""
    row = config["models"].get(policy.model)
    manifest = policy.run / policy.model / layout.BASE / "policy.json"
    return row["path"] if row else policies.read_manifest(manifest)["settings"]["path"]


def _later_data(policy: PolicyFolder, config: dict) -> layout.LaterData | None:
    """The data after the start that a policy was trained on; None: those of the start."""
    if policy.name.method.removesuffix(layout.FUTURE_SUFFIX) not in config["recipes"]:
        return None
    return Arrivals(config, policy.paths).of(policy.model, str(policy.name))


def score_rows(policy: PolicyFolder) -> list[dict[str, str]]:
    """The scores of a policy and of its base model, with intervals; of a method the mean over its
    seeds."""
    if not Path(policy.paths.scores).is_file():
        return []
    scores = read_scores(policy.run, details=False).filter(model=policy.model)
    own = scores.filter(method=policy.name.method, iteration=policy.name.iteration)
    key = ["benchmark", "judge", "metric"]
    joined = own.join(scores.filter(method=layout.BASE), on=key, how="left", suffix="_base").sort(key)
    return [
        {
            **{name: row[name] for name in key},
            "n": row["n"],
            "base": interval(row["value_base"], row["low_base"], row["high_base"]),
            "policy": interval(row["value"], row["low"], row["high"]),
        }
        for row in joined.to_dicts()
    ]


def metadata(policy: PolicyFolder, config: dict, licence: dict[str, str]) -> dict[str, Any]:
    """The fields at the top of a model card, as the hub reads them."""
    base = downloads.repository(base_address(policy, config))
    addresses = [row[key] for row in config["data"]["sources"].values() for key in ("path", "conversations") if row[key]]
    datasets = {found for found in map(downloads.repository, addresses) if found}
    fields = licence | {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["drift", "dpo"]}
    return fields | ({"base_model": base} if base else {}) | ({"datasets": sorted(datasets)} if datasets else {})


def card(policy: PolicyFolder, manifest: dict, config: dict, licence: dict[str, str], target: Path) -> str:
    """The model card of a policy."""
    gates = Path(policy.paths.gates)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        metadata=yaml.safe_dump(metadata(policy, config, licence), sort_keys=False).strip(),
        name=target.name,
        policy=policy,
        run=config["run"],
        manifest=manifest,
        training=(manifest.get("settings") or {}).get("training", {}),
        gates=json.loads(gates.read_text())["gates"] if gates.is_file() else [],
        scores=score_rows(policy),
        licence=licence,
        **provenance(policy, config),
    )


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload a folder to the hub; returns the address of the commit. Raises StageError."""
    # Stages never reach the network; this is asked for.
    os.environ["HF_HUB_OFFLINE"] = "0"
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        return str(
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"{folder.name}, by DRIFT").commit_url
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise cli.StageError(
            f"{repository} could not be uploaded ({type(error).__name__}: {error}): set HF_TOKEN to a token that may write there; "
            f"the folder {folder} is whole, and can be uploaded by hand"
        ) from error


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("policy", type=Path, metavar="POLICY", help="its folder, results/RUN/MODEL/METHOD/seedS/iterK")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write")
    command.add_argument("--license", help="licence of the policy, as the hub names it (apache-2.0, ...); default: not stated")
    command.add_argument("--license-name", help="its name, with --license other")
    command.add_argument("--license-link", help="where it is, with --license other")
    command.add_argument("--push", metavar="ORG/NAME", help="upload the folder to the hub")
    command.add_argument("--public", action="store_true", help="as a public repository")
    arguments = command.parse_args()
    policy = PolicyFolder.parse(arguments.policy)
    licence = {"license": arguments.license or "other"}
    named = {"license_name": arguments.license_name, "license_link": arguments.license_link}
    licence |= {key: value for key, value in named.items() if value}
    if not arguments.license:
        licence.setdefault("license_name", "not-stated")
    config = read_config(policy.run)
    manifest = policies.read_manifest(Path(policy.paths.manifest))
    readme = card(policy, manifest, config, licence, arguments.folder)
    copy_policy(policy, manifest, arguments.folder)
    files.write_text(arguments.folder / "README.md", readme)
    print(f"{policy} is in {arguments.folder}. Serve it:\n    vllm serve {arguments.folder}")
    if arguments.push:
        print(f"uploaded: {push(arguments.folder, arguments.push, private=not arguments.public)}")


if __name__ == "__main__":
    cli.run(main)
