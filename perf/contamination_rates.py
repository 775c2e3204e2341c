"""How many of a benchmark's prompts decontamination finds in conversations, and what it takes for
one by mistake: `make bench-contamination` or `python perf/contamination_rates.py --help`.

Plants every prompt in a real message of ShareGPT, as it is and in disguise, and looks for it with
decontamination's defaults. The same messages without plants give the false alarms: some of them do
hold prompts (AlpacaEval took some from ShareGPT), so what is found is printed to be read.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from data_rates import sharegpt_exchanges

from drift import tables
from drift.benchmarks.files import records
from drift.config import Decontamination
from drift.data.contamination import SHORT, BenchmarkTexts
from drift.data.similarity import SHINGLE, Words

FILLERS = ("really", "please", "maybe", "also")
BATCH = 2048
OPENINGS = 200
EXCERPT = 100
QUOTING = (60, 400)  # words of a message that quotes a prompt
# Prompts by their words: those that only a whole message holds, short ones, and others.
LENGTHS = (("under 5", 1, SHINGLE - 1), ("5 to 12", SHINGLE, SHORT - 1), ("13 or more", SHORT, 10**9))


def disguises(messages: list[str]) -> dict[str, Callable[[str], str]]:
    """What is done to a prompt, by name. `messages` are those that quote it."""
    chance = random.Random(0)

    def with_a_word(prompt: str) -> str:
        said = prompt.split()
        said.insert(chance.randint(1, max(len(said) - 1, 1)), chance.choice(FILLERS))
        return " ".join(said)

    def with_another_word(prompt: str) -> str:
        said = prompt.split()
        said[chance.randrange(len(said))] = "something"
        return " ".join(said)

    def quoted(prompt: str) -> str:
        said = chance.choice(messages).split()
        half = len(said) // 2
        return f'{" ".join(said[:half])}\n"{prompt}"\n{" ".join(said[half:])}'

    return {
        "as it is": str,
        "greeting before": lambda prompt: f"Hi there! {prompt}",
        "greeting before, thanks after": lambda prompt: f"Hi there! {prompt} Thanks in advance!",
        "one word put in": with_a_word,
        "quoted in a longer message": quoted,
        "one word replaced": with_another_word,
    }


def found_in(known: BenchmarkTexts, texts: pl.Series) -> pl.DataFrame:
    """`found_in` of all texts, some at a time."""
    parts = []
    for begin in range(0, len(texts), BATCH):
        parts.append(known.found_in(texts[begin : begin + BATCH]).with_columns(pl.col("row") + begin))
    return pl.concat(parts)


def held_by_others(said: pl.DataFrame, length: int) -> tuple[float, float]:
    """The share of messages that are, and that contain, an opening message of another conversation
    with so many words (of OPENINGS)."""
    first = said.unique("conversation", keep="first", maintain_order=True).unique("user", maintain_order=True)
    first = first.filter(pl.Series(Words(first["user"]).lengths) == length)
    first = first.sample(min(OPENINGS, first.height), seed=0)
    owner = dict(zip(map(tuple, Words(first["user"]).lists.to_list()), first["conversation"], strict=True))
    whole, inside = 0, 0
    for conversation, words in zip(said["conversation"], Words(said["user"]).lists.to_list(), strict=True):
        runs = {tuple(words[begin : begin + length]) for begin in range(len(words) - length + 1)} & owner.keys()
        held = any(owner[run] != conversation for run in runs)
        inside += held
        whole += held and len(words) == length
    return whole / said.height, inside / said.height


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument(
        "prompts", type=Path, help="JSON list or JSON Lines of objects with 'instruction', as AlpacaEval's, or 'prompt'"
    )
    arguments = command.parse_args()
    prompts = [record.get("instruction") or record["prompt"] for _, record in records(arguments.prompts)]
    said = [[{"role": "user", "content": prompt}] for prompt in prompts]
    tasks = pl.DataFrame(
        {"prompt_id": map(str, range(len(prompts))), "prompt": said}, schema_overrides=tables.Tasks.create_empty().schema
    )
    settings = Decontamination()
    known = BenchmarkTexts([("benchmark", tasks)], settings.ngram, settings.coverage)
    exchanges = sharegpt_exchanges()
    messages = exchanges["user"].unique(maintain_order=True)

    lengths = pl.DataFrame({"row": range(len(prompts)), "words": Words(pl.Series(prompts)).lengths})
    groups = {"all": lengths}
    groups |= {name: lengths.filter(pl.col("words").is_between(least, most)) for name, least, most in LENGTHS}
    groups = {name: group for name, group in groups.items() if group.height}
    print("found of " + ", ".join(f"{group.height} prompts ({name} words)" for name, group in groups.items()) + ", %:")
    longer = messages.filter(pl.Series(Words(messages).lengths).is_between(*QUOTING))
    for name, disguise in disguises(longer.to_list()).items():
        hits = found_in(known, pl.Series(map(disguise, prompts)))
        shares = (100 * group.join(hits, on="row", how="semi").height / group.height for group in groups.values())
        print(f"{name:32}" + "".join(f"{share:7.1f}" for share in shares))
    print(f"messages that hold one of {OPENINGS} opening messages of other conversations, %: as a whole, inside")
    for length in range(1, SHINGLE + 2):
        print(f"{length} words" + "".join(f"{100 * share:9.3f}" for share in held_by_others(exchanges, length)))
    started = time.process_time()
    alarms = found_in(known, messages)
    seconds = time.process_time() - started
    print(f"without plants: {alarms.height} of {len(messages):,} messages, {seconds:.1f} s of CPU time")
    for row in alarms.sort("how", "row").to_dicts():
        text, task = (" ".join(text.split())[:EXCERPT] for text in (messages[row["row"]], prompts[int(row["task"])]))
        print(f"  {row['how']}: {text!r}\n    holds {task!r}")


if __name__ == "__main__":
    main()
