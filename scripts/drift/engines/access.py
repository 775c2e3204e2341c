"""Keys and certificates of endpoints.

A key is in the environment and nowhere else: not in the configuration, not in a log. The preflight
imports this module in an environment without the stages' libraries.
"""

import os
import ssl

from drift.cli import StageError

# What files and shells leave around a key.
_AROUND = " \t\r\n\"'\ufeff"


def key_of(variable: str | None, url: str) -> str | None:
    """The key in the environment's `variable`, without spaces, quotes and the like around it; None
    where no variable is named. Raises StageError where it is not set, or cannot be sent."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip(_AROUND)
    if not key:
        raise StageError(
            f"{url} needs a key: set the environment variable {variable}, or endpoint.key to null if it needs none"
        )
    if not all("!" <= character <= "~" for character in key):
        raise StageError(
            f"the environment variable {variable} holds something that is no key: a space, a line break or a letter that "
            "is not ASCII within it. Set it to the key alone"
        )
    return key


def untrusted_by(url: str, error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with a server's certificate, and what helps."""
    return (
        f"the certificate of {url} is not trusted ({error.verify_message}): set the environment variable SSL_CERT_FILE to "
        "the file of your organisation's authority (PEM)"
    )
