"""WildFeedback's satisfaction annotations (sat_dsat_annotation.json), put on the WildChat
conversations that they are about, or read with the texts that they hold themselves.

The file is one JSON array of utterances, 1.6 GB, and is streamed, twice. UtteranceId starts at 0 in
every conversation, and nothing else tells conversations apart; which of WildChat's it is, only the
texts say (annotated.py). An annotation of a user's message judges the reply before it.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import ijson
import polars as pl

from drift.cli import StageError
from drift.sources import details, wildchat
from drift.sources.annotated import DROPS as JOIN_DROPS
from drift.sources.annotated import LEFT_OUT, NOT_JUDGED, Exchange, joined
from drift.sources.conversations import frames
from drift.sources.files import open_file
from drift.sources.scrubbed import PLACEHOLDER

SUFFIXES = (".json",)
UNIT = "annotated conversations"
NO_TEXT = "a user message without text"
DROPS = (NO_TEXT, *JOIN_DROPS)
CONVERSATION_DROPS = ()
# Why an annotation labels no reply, in the order of the checks.
NOT_SAID = "not said whether it is about the reply before it (Preceeding)"
NOT_ABOUT = "not about the reply before it (Preceeding)"
NO_REPLY = "no text, or no reply before it"
ANNOTATION_DROPS = (NOT_SAID, NOT_ABOUT, NO_REPLY, LEFT_OUT, NOT_JUDGED)
# The reader of what is annotated: `conversations` of the source.
CONVERSATIONS = wildchat

_FLAGS = {"Satisfaction": "SAT", "Disatisfaction": "DSAT"}  # the misspellings are the file's
_REASONS = {"SAT": "Satisfaction-Justificiation", "DSAT": "Dissatisfaction-Justificiation"}
_NEEDED = ("UtteranceId", "Role", "Content", *_FLAGS)
_ABSENT = ("", "n/a", "na", "none", "null")
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")

# A label (None: nothing is said of the reply) and what it rests on.
Judgment = tuple[str | None, list[str]]


def read(files: list[Path], counts: Counter, shards: list[Path] | None = None) -> Iterator[pl.DataFrame]:
    """Yield the annotated conversations, each reply with its label: as WildChat (`shards`) has
    them, or as they are in `files`.

    Annotations are counted as "annotations", those that label a reply as "labels". Raises
    StageError where it is not clear which role's annotations count, and where nothing matches.
    """
    conversations = annotated(files, _role(files), counts)
    if shards is None:
        yield from frames(_as_annotated(conversations, counts))
    else:
        yield from frames(joined(conversations, shards, files[0], counts))
    if not counts["labels"]:
        dropped = ", ".join(f"{reason}: {counts[reason]}" for reason in ANNOTATION_DROPS if counts[reason])
        raise StageError(
            f"{files[0]}: none of {counts['annotations']} annotations labels a reply ({dropped}). Check that the file and "
            "`conversations` are of the releases that the configuration names."
        )


def annotated(files: list[Path], role: str, counts: Counter) -> Iterator[list[Exchange]]:
    """The exchanges of every annotated conversation, with the judgments that utterances of `role`
    carry. Conversations, their drops and annotations that judge no reply are counted."""
    for utterances in _conversations(files):
        counts[UNIT] += 1
        annotations = sum(said["Role"] == role and _says(said) for said in utterances)
        counts["annotations"] += annotations
        texts = [said["Content"] for said in utterances if said["Role"] == "User"]
        if texts and all(isinstance(text, str) for text in texts):
            yield _exchanges(utterances, role, counts)
        else:
            counts[NO_TEXT] += 1
            counts[LEFT_OUT] += annotations


def _exchanges(utterances: list[dict], role: str, counts: Counter) -> list[Exchange]:
    said: list[Exchange] = []
    for utterance in utterances:
        text, from_user = utterance["Content"], utterance["Role"] == "User"
        text = text if isinstance(text, str) else ""
        if not from_user and text.strip() and said:
            said[-1].replies.append(text)
        if utterance["Role"] == role and _says(utterance):
            about = _flag(utterance.get("Preceeding"))[0]
            if about is None:
                counts[NOT_SAID] += 1
            elif not about:
                counts[NOT_ABOUT] += 1
            elif not text.strip() or not said or not said[-1].replies or said[-1].label:
                counts[NO_REPLY] += 1
            else:
                said[-1].label, said[-1].evidence = judgment(utterance)
        if from_user and text.strip():
            said.append(Exchange(text))
    return said


def _as_annotated(conversations: Iterator[list[Exchange]], counts: Counter) -> Iterator[dict]:
    for number, said in enumerate(conversations):
        messages = []
        for exchange in said:
            messages.append({"role": "user", "content": exchange.user})
            label = {"label": exchange.label, "evidence": exchange.evidence} if exchange.label else {}
            messages += [{"role": "assistant", "content": text} | label for text in exchange.replies]
        for message in messages:
            message["redacted"] = PLACEHOLDER.search(message["content"]) is not None
        counts["conversations"] += 1
        counts["labels"] += sum(exchange.label is not None for exchange in said)
        # WildFeedback annotated English conversations alone.
        yield {"id": str(number), "language": "English", "messages": messages}


def _role(files: list[Path]) -> str:
    """Whose utterances carry the annotations."""
    carried = Counter()
    for utterances in _conversations(files):
        by_role = {role: [said for said in utterances if said["Role"] == role] for role in ("User", "Agent")}
        for role, said in by_role.items():
            carried[role] += any(map(_says, said))
        users, agents = ([judgment(utterance) for utterance in said] for said in by_role.values())
        # An annotation of the agent's that only copies the one of the user's before adds nothing.
        carried["own"] += agents != users[: len(agents)]
    if not carried["User"] and not carried["Agent"]:
        raise StageError(f"{files[0]}: no utterance has {' or '.join(_FLAGS)} set: nothing is annotated. Fetch the file again.")
    if carried["User"] and carried["own"] and carried["Agent"]:
        raise StageError(
            f"{files[0]}: utterances of User and of Agent are annotated, and differently in {carried['own']} conversations, so it "
            "is not clear which reply an annotation judges. Keep the annotations of one role."
        )
    return "User" if carried["User"] else "Agent"


def _conversations(files: list[Path]) -> Iterator[list[dict]]:
    for file in files:
        conversation: list[dict] = []
        for place, utterance in enumerate(_utterances(file)):
            if not isinstance(utterance, dict) or not utterance.keys() >= set(_NEEDED):
                found = ", ".join(utterance) if isinstance(utterance, dict) else type(utterance).__name__
                raise StageError(f"{file}: element {place} lacks one of {', '.join(_NEEDED)}; it has: {found}. Check the file.")
            if utterance["Role"] not in ("User", "Agent"):
                raise StageError(
                    f"{file}: element {place} has the role '{utterance['Role']}', not User or Agent. Check the file."
                )
            if details.name(utterance["UtteranceId"]) == "0" and conversation:
                yield conversation
                conversation = []
            conversation.append(utterance)
        if conversation:
            yield conversation


def _utterances(file: Path) -> Iterator[object]:
    try:
        with open_file(file) as array:
            yield from ijson.items(array, "item", use_float=True)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise StageError(f"{file}: not a whole JSON array: {error}. Fetch the file again.") from error


def judgment(utterance: dict) -> Judgment:
    """What an annotation amounts to. Where a user was both satisfied and not, DSAT counts."""
    flags = {label: _flag(utterance[name]) for name, label in _FLAGS.items()}
    if not any(said for said, _ in flags.values()):
        return ("NEUTRAL" if _says(utterance) else None), []
    evidence = [
        f"{label}: {reason}"
        for label, (said, items) in flags.items()
        if said
        for reason in [*items, str(utterance.get(_REASONS[label]) or "").strip()]
        if reason
    ]
    return ("DSAT" if flags["DSAT"][0] else "SAT"), evidence


def _says(utterance: dict) -> bool:
    return any(_flag(utterance[name])[0] is not None for name in _FLAGS)


def _flag(value: object) -> tuple[bool | None, list[str]]:
    """Whether a field is set (None: it is absent), and the rubric items that it names, if any."""
    if isinstance(value, list):
        return (bool(value) or None), [str(item) for item in value]
    # A spreadsheet or pandas writes 1.0 for 1, and NaN for nothing.
    text = "" if details.is_absent(value) else (details.name(value) or str(value)).strip()
    if text.lower() in _ABSENT:
        return None, []
    if text.lower() in _YES + _NO:
        return text.lower() in _YES, []
    return True, [text]
