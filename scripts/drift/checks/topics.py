"""What a reply is about, as far as code can tell: whether it names a topic of its prompt."""

from collections.abc import Iterable

from drift.checks import phrases


def names_topic(text: str, topics: Iterable[str]) -> bool:
    """Whether a word of the text begins with one of `topics`, in any case, so that "cliff" stands
    for its plural. A topic may have several words."""
    return any(phrases.has(text, topic, ending=False) for topic in topics)
