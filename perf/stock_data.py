"""The clauses of turns, labels and pools as one would first write them: `datasets` map and filter,
a function a row, one process.

Reads WildChat shards (--shards) and the Tasks table of a benchmark (--benchmark), and writes dsat,
sat and corrections (--folder) with the columns that make a row what it is, to be compared with the
pipeline's own. It knows WildChat, the lexical labeler and the default filters; near-duplicates and
decontamination have the same hashes, and the same library for MinHash, called text by text.
Settings: as those of scripts/pools.py. Ledger, quarantine and masking are left out.
"""

import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import datasets
import numpy as np
import rensa
from stock_benchmark import Benchmark, words

from drift import cli
from drift.data import similarity
from drift.labelers import lexical, lexical_rules
from drift.settings.data import PoolsSettings

ROLES = {"user": "user", "assistant": "assistant"}
BASE, MASK = 0x9E3779B97F4A7C15, 2**64 - 1
RULES = [(rule, re.compile(rule.pattern), re.compile(rule.unless) if rule.unless else None) for rule in lexical_rules.RULES]
PATTERNS = (lexical_rules.MORE, lexical_rules.CODE, lexical_rules.QUESTION, lexical_rules.QUALIFIED)
MORE, CODE, QUESTION, QUALIFIED = map(re.compile, PATTERNS)
PAGER = re.compile(
    r"(please |pls |ok,? |yes,? |and |now )*"
    r"(continue|go on|keep going|carry on|proceed|more|next|go ahead|finish|resume|[0-9]+ ?/ ?[0-9]+)"
    r"( please| pls| it| on| writing| from (where|there).*| where you (left|stopped).*| the (story|code|list|answer|rest|response|output))*[.! ]*"
)
REFUSAL = re.compile(
    r"^(i'?m (very |truly |really )?sorry|i (do )?apologi[sz]e|sorry|unfortunately|as an ai)[^.]{0,120}"
    r"\b(can ?not|can'?t|unable|not able|won'?t|will not|not appropriate|not comfortable|against)\b"
    r"|^i (can ?not|can'?t|won'?t|will not|am unable to|am not able to|'m unable to|'m not able to) "
    r"(assist|help|fulfil|provide|engage|comply|create|generate|write|do|discuss|continue|support|participate|produce|answer)"
)
TEXT = datasets.Value("string")
CANDIDATE = dict.fromkeys(
    ("pool", "prompt_id", "conversation_id", "user_id", "response", "next_response", "feedback", "template"), TEXT
)
CANDIDATE |= {
    "prompt": datasets.List({"role": TEXT, "content": TEXT}),
    "evidence": datasets.List(TEXT),
    "score": datasets.Value("float64"),
}

# ---------------------------------------------------------------------------- conversations, labels


def to_exchanges(row: dict) -> dict:
    """A WildChat row as exchanges; none where it is no conversation of ours."""
    runs: list[tuple[str, list[str]]] = []
    whole = bool(row["conversation_hash"])
    for message in row["conversation"]:
        role, content = message["role"], message["content"]
        whole &= role in ROLES and content is not None
        if not whole or not content.strip():
            continue
        if runs and runs[-1][0] == role:
            runs[-1][1].append(content)
        else:
            runs.append((role, [content]))
    said = [(role, "\n\n".join(parts), len(parts) > 1) for role, parts in runs]
    exchanges = []
    for place in range(0, len(said) if whole and said and said[0][0] == "user" and len(said) > 1 else 0, 2):
        reply = said[place + 1] if place + 1 < len(said) else (None, None, False)
        follow = said[place + 2][1] if place + 2 < len(said) else None
        exchanges.append(
            {"user": said[place][1], "response": reply[1], "feedback": follow, "merged": said[place][2] or reply[2]}
        )
    key = f"wildchat:{row['conversation_hash']}_{row['conversation'][0]['turn_identifier'] if row['conversation'] else ''}"
    return {"conversation_id": key, "exchanges": exchanges, "digest": md5(repr(said))}


def label(row: dict) -> dict:
    labels = [None if e["response"] is None or e["feedback"] is None else lexical_label(e) for e in row["exchanges"]]
    return {"labels": labels}


def lexical_label(exchange: dict) -> dict:
    """What the rules of drift/labelers/lexical_rules.py say of a reply."""
    said = normalised(exchange["feedback"])
    short = len(said) <= lexical.SHORT_CHARS
    text = said if short else said[: lexical.HEAD_CHARS]
    code, question = CODE.search(exchange["response"]), QUESTION.search(exchange["response"])
    evidence = []
    for_more = short and MORE.search(said)
    if said == normalised(exchange["user"]) and len(said) >= lexical.REPEAT_MIN_CHARS and not for_more:
        evidence.append(lexical.REPEAT)
    for rule, pattern, unless in RULES:
        if (rule.short_only and not short) or (rule.after_code and not code) or (rule.not_after_question and question):
            continue
        if not pattern.search(text) or (unless and unless.search(text)):
            continue
        if rule.id.startswith("sat/") and QUALIFIED.search(text):
            continue
        evidence.append(rule.id)
    kinds = {name.split("/")[0] for name in evidence}
    found = "DSAT" if "strict" in kinds else "SAT" if "sat" in kinds else "NEUTRAL"
    sure = set(evidence) & set(lexical.SURE["sat" if found == "SAT" else "strict"])
    tier = "low" if found == "NEUTRAL" else "high" if sure else "medium"
    return {"label": found, "evidence": evidence, "score": lexical.SCORES[tier]}


@cache
def normalised(text: str) -> str:
    text = re.sub("[\u2018\u2019`\u00b4]", "'", text.lower()).replace("\\", "")
    return re.sub(r"\s+", " ", text).strip()


# ------------------------------------------------------------------------------------------ clauses


def candidates(batch: dict, filters: dict) -> dict:
    """The rows that conversations give to the pools."""
    rows = {name: [] for name in CANDIDATE}
    for values in zip(*batch.values(), strict=True):
        for row in candidates_of(dict(zip(batch, values, strict=True)), filters):
            for name in CANDIDATE:
                rows[name].append(row[name])
    return rows


def candidates_of(conversation: dict, filters: dict) -> Iterator[dict]:
    exchanges, labels = conversation["exchanges"], conversation["labels"]
    unfit = [bool(said) and is_unfit(conversation, exchanges[turn], filters) for turn, said in enumerate(labels)]
    history: list[dict] = []
    chars = 0
    for turn, (exchange, said) in enumerate(zip(exchanges, labels, strict=True)):
        history.append({"role": "user", "content": exchange["user"]})
        chars += len(exchange["user"])
        if said is None:
            return
        after = labels[turn + 1] if turn + 1 < len(labels) else None
        follow = exchanges[turn + 1]["response"] if after else None
        pools = {"DSAT": ["dsat"], "SAT": ["sat"], "NEUTRAL": []}[said["label"]]
        if said["label"] == "DSAT" and after and after["label"] == "SAT" and follow != exchange["response"]:
            pools = [*pools, "corrections"]
        for pool in pools:
            corrects = pool == "corrections"
            length = max(len(exchange["response"]), len(follow) if corrects else 0)
            score = min(said["score"], after["score"]) if corrects else said["score"]
            if unfit[turn] or (corrects and unfit[turn + 1]):
                continue
            if score < filters["min_score"] or chars + length > filters["max_chars"]:
                continue
            yield {
                "pool": pool,
                "prompt_id": f"{conversation['conversation_id']}/{turn}",
                "conversation_id": conversation["conversation_id"],
                "user_id": conversation["hashed_ip"],
                "prompt": list(history),
                "response": exchange["response"],
                "next_response": follow,
                "feedback": exchange["feedback"],
                "evidence": said["evidence"],
                "score": said["score"],
                "template": template(exchange["user"]),
            }
        history.append({"role": "assistant", "content": exchange["response"]})
        chars += len(exchange["response"])


def is_unfit(conversation: dict, exchange: dict, filters: dict) -> bool:
    user, reply = exchange["user"], exchange["response"]
    return (
        (filters["languages"] is not None and conversation["language"] not in filters["languages"])
        or (filters["drop_toxic"] and conversation["toxic"])
        or (filters["drop_redacted"] and conversation["redacted"])
        or (filters["drop_merged"] and exchange["merged"])
        or min(len(user.strip(" \t\n\r")), len(reply.strip(" \t\n\r"))) < filters["min_chars"]
        or (filters["drop_continuations"] and len(user) <= 60 and PAGER.fullmatch(plain(user)) is not None)
        or (filters["drop_refusals"] and refuses(reply))
    )


def refuses(reply: str) -> bool:
    return len(reply) <= 1000 and REFUSAL.search(plain(reply[:300]).replace("\u2019", "'")[:200]) is not None


def plain(text: str) -> str:
    return re.sub(r"[ \t\n\f\r]+", " ", text).strip(" ").lower()


def template(message: str) -> str | None:
    return md5(re.sub("[0-9]+", "0", plain(message[:200])[:100])) if len(message) >= 200 else None


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


# ------------------------------------------------------------------------ the same words, or nearly


@cache
def word_hash(word: str) -> int:
    return int.from_bytes(hashlib.md5(word.encode()).digest()[:8], "little")


def signature(text: str) -> list[int]:
    hashes = [word_hash(word) for word in words(text)]
    hashes += [0] * (similarity.SHINGLE - len(hashes))
    grams = []
    for start in range(len(hashes) - similarity.SHINGLE + 1):
        gram = 0
        for value in hashes[start : start + similarity.SHINGLE]:
            gram = (gram * BASE + value) & MASK
        grams.append(gram)
    offsets = np.array([0, len(grams)], dtype=np.uint64)
    hashed = np.array(grams, dtype=np.uint64)
    return rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashed, offsets, similarity.PERMUTATIONS, 0).to_rows()[0]


def alike(one: list[int], other: list[int], threshold: float) -> bool:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one) >= threshold


def bands(signed: list[int]) -> list[tuple]:
    rows = similarity.PERMUTATIONS // similarity.BANDS
    return [(start, *signed[start : start + rows]) for start in range(0, len(signed), rows)]


def clusters(keys: list[str], signed: list[list[int]], threshold: float) -> dict[str, str]:
    """The first key of the cluster of each, where `keys` are sorted."""
    parent, first_of = list(range(len(keys))), {}
    for place, mine in enumerate(signed):
        for first in {first_of.setdefault(band, place) for band in bands(mine)} - {place}:
            if alike(signed[first], mine, threshold):
                a, b = root(parent, first), root(parent, place)
                parent[max(a, b)] = min(a, b)
    return {key: keys[root(parent, place)] for place, key in enumerate(keys)}


def root(parent: list[int], place: int) -> int:
    while parent[place] != place:
        parent[place] = place = parent[parent[place]]
    return place


# --------------------------------------------------------------------------------------------- caps


def few_of_each(rows: datasets.Dataset, column: str, most: int | None) -> datasets.Dataset:
    """At most so many rows of each pool and value, in the order of the rows."""
    seen = Counter()

    def counts(row: dict) -> bool:
        if most is None or row[column] is None:
            return True
        seen[row["pool"], row[column]] += 1
        return seen[row["pool"], row[column]] <= most

    return rows.filter(counts)


def groups(rows: datasets.Dataset, threshold: float) -> dict[str, str]:
    """The group of every conversation: one user's, and those that open alike, are together."""
    first = {row["conversation_id"]: (row["prompt"][0]["content"], row["user_id"]) for row in rows}
    names = sorted(first)
    alike_to = clusters(names, [signature(first[name][0]) for name in names], threshold)
    parent, seen = list(range(len(names))), {}
    for place, name in enumerate(names):
        opening, user = first[name]
        links = [("opening", md5(plain(opening))), ("cluster", alike_to[name])] + ([("user", user)] if user else [])
        for link in links:
            a, b = root(parent, seen.setdefault(link, place)), root(parent, place)
            parent[max(a, b)] = min(a, b)
    return {name: names[root(parent, place)] for place, name in enumerate(names)}


def split(rows: datasets.Dataset, group_of: dict[str, str], settings: dict) -> datasets.Dataset:
    """Rows with their side, cut to the maxima."""
    rows = rows.map(lambda row: {"group": group_of[row["conversation_id"]]})
    # A group that is larger than the test side stays with the training rows.
    sizes, test = Counter(group_of.values()), set()
    for pool, wanted in (("dsat", settings["test_conversations"]), ("corrections", settings["test_correction_conversations"])):
        fitting = {
            group for of, group in zip(rows["pool"], rows["group"], strict=True) if of == pool and sizes[group] <= wanted
        }
        test |= set(sorted(fitting, key=lambda group: md5(f"{settings['seed']}/{group}"))[:wanted])
    rows = rows.map(lambda row: {"split": "test" if row["group"] in test else "train"})
    taken = Counter()

    def under_maximum(row: dict) -> bool:
        most = settings[f"max_{row['pool']}"]
        if row["split"] == "test" or most is None:
            return True
        taken[row["pool"]] += 1
        return taken[row["pool"]] <= most

    return rows.filter(under_maximum)


def main() -> None:
    command = cli.parser(__doc__, PoolsSettings)
    command.add_argument("--shards", required=True, type=Path, help="folder of WildChat shards")
    command.add_argument("--benchmark", required=True, help="Tasks table to keep out")
    command.add_argument("--folder", required=True, type=Path, help="where the tables of the pools go")
    arguments = command.parse_args()
    settings = arguments.settings.model_dump()
    filters = settings["filters"]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        columns = ["conversation_hash", "conversation", "language", "hashed_ip", "toxic", "redacted"]
        files = sorted(map(str, arguments.shards.glob("*.parquet")))
        raw = datasets.load_dataset("parquet", data_files=files, split="train", columns=columns, cache_dir=temporary)
        rows = raw.map(to_exchanges, remove_columns=["conversation_hash", "conversation"])
        rows = rows.filter(lambda row: len(row["exchanges"]) > 0).sort("conversation_id")
        for column in ("digest", "conversation_id"):
            seen: set[str] = set()
            rows = rows.filter(lambda row, column=column, seen=seen: not (row[column] in seen or seen.add(row[column])))
        rows = rows.map(label)
        rows = rows.filter(lambda row: any(said and said["label"] != "NEUTRAL" for said in row["labels"]))
        chosen = rows.map(
            candidates,
            batched=True,
            remove_columns=rows.column_names,
            features=datasets.Features(CANDIDATE),
            fn_kwargs={"filters": filters},
        )
        chosen = chosen.sort(["pool", "prompt_id"])
        group_of = groups(chosen, filters["near_duplicates"])
        said: set[str] = set()

        def is_new(row: dict) -> bool:
            key = row["pool"] + md5(repr(row["prompt"])) + md5(row["response"])
            return not (key in said or said.add(key))

        chosen = chosen.filter(is_new)
        tasks = datasets.Dataset.from_parquet(arguments.benchmark, cache_dir=temporary)
        chosen = chosen.filter(Benchmark(tasks, **settings["decontamination"]).is_clean)
        chosen = chosen.map(lambda row: {"signature": signature(row["prompt"][-1]["content"] + "\n" + row["response"])})
        for pool in ("dsat", "sat", "corrections"):
            mine = chosen.filter(lambda row, pool=pool: row["pool"] == pool)
            cluster_of = clusters(list(mine["prompt_id"]), list(mine["signature"]), filters["near_duplicates"])
            chosen = chosen.filter(
                lambda row, pool=pool, cluster_of=cluster_of: (
                    row["pool"] != pool or cluster_of[row["prompt_id"]] == row["prompt_id"]
                )
            )
        chosen = chosen.map(lambda row: {"place": md5(f"{settings['seed']}/{row['prompt_id']}")}).sort("place")
        for column, most in (("conversation_id", "conversation"), ("user_id", "user"), ("template", "template")):
            chosen = few_of_each(chosen, column, filters[f"max_per_{most}"])
        chosen = split(chosen, group_of, settings)
        for pool in ("dsat", "sat", "corrections"):
            mine = chosen.filter(lambda row, pool=pool: row["pool"] == pool).sort("prompt_id")
            mine.select_columns(
                ["prompt_id", "split", "prompt", "response", "next_response", "feedback", "evidence", "score"]
            ).to_parquet(arguments.folder / f"{pool}.parquet")


if __name__ == "__main__":
    cli.run(main)
