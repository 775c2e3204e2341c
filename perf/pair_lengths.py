"""What `sampling.cut` does to the lengths of pairs, on the same samples: `make bench-pairs`.

Samples the first iteration of three methods as perf/pairs.yaml says, and makes their pairs three
times: with a limit on sampled replies alone, longer ones dropped; with one limit for both sides,
and `drop`; and with `prefix`. Prints rows of a Markdown table. 200 prompts a method took half an
hour on two cores that other work shared.
"""

import sys
from pathlib import Path

import yaml
from common import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts"))

import polars as pl

from drift import tables
from drift.chat import load_tokenizer
from drift.config import load
from drift.settings.training import PairsSettings
from pairs import make_pairs, sampled_replies

UNLIMITED = 1_000_000
WAYS = {"of sampled replies alone": ("drop", UNLIMITED), "`drop`": ("drop", None), "`prefix`": ("prefix", None)}


def lengths(tokens: pl.Series) -> str:
    """Mean and quartiles."""
    quartiles = " / ".join(f"{tokens.quantile(share, 'linear'):.0f}" for share in (0.25, 0.5, 0.75))
    return f"{tokens.mean():.0f} ({quartiles})"


def rows(config: dict, model: Path, method: str) -> list[str]:
    """The table's rows of a method."""
    recipe, sampling = config["recipes"][method], config["sampling"]
    folder = model / f"{method}/seed{config['seeds'][0]}/iter1"
    prompts = tables.read_table(tables.Prompts, model / f"prompts/{recipe['prompts']}.parquet")
    requests = tables.read_table(tables.Requests, folder / "requests.parquet")
    replies = sampled_replies(requests, tables.read_table(tables.Completions, *sorted(folder.glob("completions/*.parquet"))))
    shown = []
    for way, (cut, limit) in WAYS.items():
        settings = PairsSettings(
            lineage=f"{method}/iter1",
            recipe={side: recipe[side] for side in ("chosen", "rejected")},
            max_tokens=limit or sampling["max_tokens"],
            cut=cut,
            subset=None,
            max_length=config["training"]["max_length"],
            **{key: config["prompting"][key] for key in ("instruction", "allusions")},
        )
        made, _, _ = make_pairs(prompts, replies, load_tokenizer(model / "base/policy"), settings)
        shorter = (made["chosen_tokens"] < made["rejected_tokens"]).mean()
        longer = (made["chosen_tokens"] > made["rejected_tokens"]).mean()
        cells = (
            f"{sampling['max_tokens']}, `{method}`",
            way,
            prompts.filter(split="train").height,
            made.height,
            lengths(made["chosen_tokens"]),
            lengths(made["rejected_tokens"]),
            f"{100 * shorter:.0f} / {100 * longer:.0f}",
        )
        shown.append(f"| {' | '.join(map(str, cells))} |")
    return shown


def main() -> None:
    config = load(yaml.safe_load(Path(sys.argv[1]).read_text()))
    (model,) = config["models"]
    for method in config["methods"]:
        print("\n".join(rows(config, REPOSITORY / "results" / config["run"] / model, method)))


if __name__ == "__main__":
    main()
