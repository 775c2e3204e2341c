"""How many labels of WildFeedback's annotations reach the replies that were judged, and no other.

Writes real ShareGPT conversations in the layouts of WildFeedback's annotations and of WildChat,
with what is known to tell the two files apart: words that an anonymiser cut out of every second
annotated conversation, replies that are others in WildChat, and conversations with the same user
messages. Then reads them as the pipeline does.
"""

import argparse
import json
import random
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from data_rates import sharegpt_exchanges
from tests.builders.sources import turns_settings
from tests.shards import wildchat_1m

import turns
from drift import tables

EXCHANGES = (3, 12)
CAPITALISED = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}")
CUT_OUT, OTHER_REPLY, SAME_MESSAGES = 0.3, 0.05, 0.03


def without_names(texts: list[str], chance: random.Random) -> list[str]:
    """The texts with CUT_OUT of their capitalised words replaced."""
    names = sorted({word for text in texts for word in CAPITALISED.findall(text)})
    names = chance.sample(names, int(len(names) * CUT_OUT))
    pattern = re.compile(rf"\b({'|'.join(names)})\b")
    return [pattern.sub("<PERSON>", text) for text in texts] if names else texts


def annotations(texts: list[str]) -> list[dict]:
    """The utterances of a conversation: users are satisfied and dissatisfied in turn."""
    rows = []
    for place, text in enumerate(texts):
        said = ("SAT", "DSAT")[place // 2 % 2] if place % 2 == 0 and place else None
        flags = {name: said and ("YES" if said == label else "NO") for name, label in FLAGS.items()}
        role = "Agent" if place % 2 else "User"
        rows.append({"UtteranceId": place, "Role": role, "Content": text, "Preceeding": said and "YES"} | flags)
    return rows


FLAGS = {"Satisfaction": "SAT", "Disatisfaction": "DSAT"}


def build(folder: Path, number: int) -> pl.DataFrame:
    """Write both files; returns the labels: reply, label, and whether words were cut out."""
    chance = random.Random(0)
    said = sharegpt_exchanges().group_by("conversation", maintain_order=True).agg("user", "response")
    said = said.filter(pl.col("user").list.len().is_between(*EXCHANGES))
    chats = [[text for pair in zip(*texts, strict=True) for text in pair] for _, *texts in said.rows()]
    chats = [chat for chat in chats if all(text.strip() for text in chat)][:number]
    replies = [text for chat in chats for text in chat[1::2]]
    annotated, wildchat, labels = [], [], []
    for place, chat in enumerate(chats):
        texts = without_names(chat, chance) if place % 2 else chat
        annotated += annotations(texts)
        labels += [(reply, ("DSAT", "SAT")[turn % 2], texts != chat) for turn, reply in enumerate(chat[1:-2:2])]
        kept, kind = list(chat), chance.random()
        if kind < OTHER_REPLY:
            kept[chance.randrange(1, len(chat) - 2, 2)] = chance.choice(replies)
        elif kind < OTHER_REPLY + SAME_MESSAGES:
            others = [chance.choice(replies) if turn % 2 else text for turn, text in enumerate(chat)]
            wildchat.insert(chance.randrange(len(wildchat) + 1), others)
        wildchat.append(kept)
    (folder / "annotations.json").write_text(json.dumps(annotated))
    lengths = np.array([len(chat) for chat in wildchat])
    pq.write_table(wildchat_1m(pa.array([text for chat in wildchat for text in chat]), lengths), folder / "wildchat.parquet")
    return pl.DataFrame(labels, schema={"response": pl.String, "source_label": pl.String, "cut": pl.Boolean}, orient="row")


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--conversations", type=int, default=3000)
    arguments = command.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        given = build(folder, arguments.conversations)
        settings, found = turns_settings(wf="wildfeedback"), folder / "turns.parquet"
        conversations = {"wf": folder / "wildchat.parquet"}
        ledger = turns.write_turns({"wf": folder / "annotations.json"}, settings, found, conversations)
        labelled = tables.read_table(tables.Turns, found).select("response", "source_label").drop_nulls()
    for name, some in (("texts as they were", given.filter(~pl.col("cut"))), ("words cut out", given.filter("cut"))):
        right = some.join(labelled, on=["response", "source_label"], how="semi").height
        print(f"{name}: {100 * right / some.height:.1f} % of {some.height:,} labels are on the judged reply")
    wrong = labelled.join(given, on=["response", "source_label"], how="anti").height
    print(f"on another reply: {wrong}")
    for lineage, reason, dropped in ledger.filter(pl.col("dropped") > 0).select("lineage", "reason", "dropped").rows():
        print(f"  {lineage}: {dropped:,} dropped: {reason}")


if __name__ == "__main__":
    main()
