"""Openings on the user's feedback, in replies whose training prompt does not show that feedback.

A reply that was written after a complaint often opens with words on it: "I apologize for the
confusion. Here is the corrected list:". Trained on the prompt from before the complaint, it teaches
a policy to apologize for nothing. The rules know English only, and are rough.
"""

import re

# Characters. What is left of a reply and is shorter is no answer: "Please try again."
SHORTEST = 40


def _either(pattern: str) -> re.Pattern:
    """`pattern` in any case, with a straight or a typographic apostrophe where it has one."""
    return re.compile(pattern.replace("'", "['\u2019]"), re.IGNORECASE)


_CLAIM = r"(revised|improved|updated|corrected|refined|rewritten|better)"
_OPENING = _either(
    r"((oh|ah|yes|no|ok|okay|sure|certainly|of course|thank you)[,.!]? +)?"
    # "I'm sorry, but I cannot" declines, and "I'm sorry to hear that" answers the prompt itself.
    r"((i('m| am) )?((so|very|truly|really) )?sorry (for|about|if|that i|i|my)\b"
    r"|i('m| am) ((so|very|truly|really) )?sorry[.!]"
    r"|(i ((do|sincerely|deeply) )?apologi[sz]e|(my |sincere |please accept my )*apologies)\b(?!,? (but|however)\b)"
    r"|you('re| are) ((absolutely|quite|completely) )?(right|correct)\b"
    r"|thank you for (your|the) (feedback|clarif\w+|correct\w+|pointing)|thank you for (pointing|clarifying|correcting|bringing)\b"
    rf"|.{{0,60}}\b{_CLAIM} (\w+ ){{0,2}}(version|answer|response|reply|explanation|code|list|draft)\b)"
)
# After an apology these are on the feedback too. Alone they may answer a prompt that asks for a
# revision.
_NEXT = _either(
    rf"((here|below)('s| is| are)|(i('ll| will|'ve| have)|let me|let's)) (\w+ ){{0,8}}({_CLAIM}|another|again|correct|fix|revise|update)\b"
    r"|i (made (a|an|the|some)|forgot|misread|misunderstood|missed|overlooked)\b"
)
# Where words on the feedback end: with the sentence, at a colon, with the line, or before "but".
_END = re.compile(r"[.!?:][\"'\u201d\u2019)\]*_]*(?=\s|$)|, (?P<but>but|however),? |\n|$")
# Before the first word: marks of a heading or of bold type.
_MARKS = " \t\n#*"


def alludes(text: str) -> bool:
    """Whether a reply opens with a reference to an earlier one: an apology, thanks for the
    feedback, "Here is a revised version".

    Where the prompt itself ends with a complaint, an apology is apt.
    """
    return _OPENING.match(text.lstrip(_MARKS)) is not None


def without_allusion(text: str) -> str | None:
    """The reply without its opening sentences on the feedback; the same text where there are none,
    None where next to nothing is left."""
    if not alludes(text):
        return text
    rest = text
    while _OPENING.match(words := rest.lstrip(_MARKS)) or _NEXT.match(words):
        end = _END.search(words)
        rest = words[end.end() :].strip()
        if end["but"]:
            rest = rest[:1].upper() + rest[1:]
    return rest if len(rest) >= SHORTEST else None
