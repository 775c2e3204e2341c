"""Personal data in texts, replaced by what it is: [EMAIL], [PHONE], [KEY].

Phone numbers are found by Google's libphonenumber: international ones (+49 ...), and national ones
of the United States; it checks that a number can exist, so that dates, prices and version numbers
stay. E-mail addresses and keys have a fixed form. Names, postal addresses and whatever else a text
may give away are not found.
"""

import phonenumbers
import polars as pl

_EMAIL = r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"
# Keys as their issuers document them: OpenAI and Anthropic, GitHub, GitLab, AWS, Google, Slack,
# Stripe, Hugging Face, npm; web tokens; private keys in PEM.
_KEY = (
    r"\bsk-[A-Za-z0-9_-]{20,}|\b(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{20,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[A-Za-z0-9_-]{35}|\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|\bhf_[A-Za-z0-9]{30,}"
    r"|\bnpm_[A-Za-z0-9]{36}|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"
)
# What may be a phone number: the library, which is slow, sees only texts that match.
_DIGITS = r"[+(]?\d(?:[ ().\-/]{0,3}\d){6,}"


def masked(messages: pl.DataFrame) -> pl.DataFrame:
    """`messages` with their content and comment masked; those that this changed are flagged."""
    texts = [_masked(messages[name]) for name in ("content", "comment")]
    changed = pl.any_horizontal(pl.col(text.name).ne_missing(text) for text in texts)
    flag = pl.when(changed).then(pl.lit(["masked"])).otherwise(pl.lit([], pl.List(pl.String)))
    return messages.with_columns(flags=pl.concat_list("flags", flag)).with_columns(texts)


def _masked(texts: pl.Series) -> pl.Series:
    texts = texts.str.replace_all(_KEY, "[KEY]").str.replace_all(_EMAIL, "[EMAIL]")
    candidates = texts.str.contains(_DIGITS).fill_null(False).arg_true()
    return texts.scatter(candidates, [mask_phones(text) for text in texts.gather(candidates)])


def mask_phones(text: str) -> str:
    """`text` with its phone numbers replaced."""
    for match in reversed(list(phonenumbers.PhoneNumberMatcher(text, "US"))):
        text = f"{text[: match.start]}[PHONE]{text[match.end :]}"
    return text
