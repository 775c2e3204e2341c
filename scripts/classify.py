"""Have a sequence classifier say how probable each of its classes is for every answered exchange.

Reads:  the Turns table (--turns) and the classifier (--model).
Writes: a ClassProbabilities table (--probabilities) of one shard of the exchanges (--shard I N).

Nothing is cut: an exchange that is too long for the classifier, or for the configuration, gets no
row.
"""

import _python  # noqa: F401 - before what may be missing
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path

import polars as pl

from drift import cli
from drift.engines import classifiers
from drift.labelers import answered
from drift.progress import Progress
from drift.settings.data import ClassifySettings
from drift.tables import ROW_GROUP, ClassProbabilities, write_batches

KEY = "data.labelers.NAME.path"
# Who wrote each part of an exchange, in the order in which they were written.
ROLES = {"user": "user", "response": "assistant", "feedback": "user"}
# What is read at once: so many exchanges of one length, and so many tokens together.
AT_ONCE, TOKENS = 64, 16_384


def check_classes(model: Path, settings: ClassifySettings) -> list[str]:
    """The classes of the model, by the order of its outputs. Raises StageError where they are not
    those of the settings, and where the model has none that exclude each other."""
    config = classifiers.config_of(model, KEY)
    found = classifiers.classes_of(config)
    if sorted(found) != sorted(settings.classes):
        raise cli.StageError(
            f"{model}: the classes of this classifier are {', '.join(found)}, and data.labelers.NAME.classes has "
            f"{', '.join(settings.classes)}; give each class of it DSAT, SAT or NEUTRAL"
        )
    if config.problem_type == "multi_label_classification":
        raise cli.StageError(
            f"{model}: the classes of this classifier do not exclude each other (problem_type in its config.json), so that "
            f"none is the most probable one; fix {KEY}"
        )
    return found


def exchanges(turns: Path, i: int, n: int) -> Iterator[dict]:
    """The answered exchanges of shard `i` of `n`, in the order of the Turns table."""
    columns = ["conversation_id", "turn", *ROLES]
    batches = answered(pl.scan_parquet(turns).select(columns)).collect_batches(chunk_size=ROW_GROUP, maintain_order=True)
    return islice((row for batch in batches for row in batch.iter_rows(named=True)), i - 1, None, n)


def messages(exchange: dict, reads: list[str]) -> list[dict[str, str]]:
    """What the classifier is shown of an exchange."""
    return [{"role": role, "content": exchange[part]} for part, role in ROLES.items() if part in reads]


def probabilities(classifier, encoded: list[dict[str, list[int]]]) -> list[list[float]]:
    """The probability of each class of the `classifier` for each of these inputs. Those of equal
    length are read together: padding would change what a classifier says."""
    found = [[]] * len(encoded)
    # A decoder without a padding token reads one text at a time.
    most = AT_ONCE if classifier.config.get_text_config().pad_token_id is not None else 1

    def length(place: int) -> int:
        return len(encoded[place]["input_ids"])

    with Progress(total=len(encoded), desc="exchanges") as progress:
        for tokens, places in groupby(sorted(range(len(encoded)), key=length), length):
            while batch := list(islice(places, max(1, min(most, TOKENS // max(1, tokens))))):
                shares = classifiers.logits(classifier, [encoded[place] for place in batch]).double().softmax(-1)
                for place, share in zip(batch, shares.tolist(), strict=True):
                    found[place] = share
                progress.update(len(batch))
    return found


def classified(
    rows: Iterator[dict], classes: list[str], classifier, tokenizer, settings: ClassifySettings
) -> Iterator[pl.DataFrame]:
    """ClassProbabilities of exchanges that come sorted by key, some at a time."""
    room = min(settings.context, classifiers.longest(classifier, tokenizer))
    read = too_long = 0
    while batch := list(islice(rows, ROW_GROUP)):
        encoded = [classifiers.encode(tokenizer, messages(row, settings.reads)) for row in batch]
        fits = [place for place, inputs in enumerate(encoded) if len(inputs["input_ids"]) <= room]
        found = probabilities(classifier, [encoded[place] for place in fits])
        read, too_long = read + len(fits), too_long + len(batch) - len(fits)
        made = [
            (batch[place]["conversation_id"], batch[place]["turn"], name, share)
            for place, shares in zip(fits, found, strict=True)
            for name, share in zip(classes, shares, strict=True)
        ]
        table = pl.DataFrame(made, schema=ClassProbabilities.create_empty().schema, orient="row")
        yield table.sort(ClassProbabilities.primary_key())
    print(f"{read} exchanges were classified; {too_long} more have over {room} tokens")


def main() -> None:
    command = cli.parser(__doc__, ClassifySettings)
    command.add_argument("--turns", required=True, type=Path, help="Turns table")
    command.add_argument("--model", required=True, type=Path, help="folder of the classifier")
    command.add_argument("--shard", required=True, nargs=2, type=int, metavar=("I", "N"), help="which of how many, from 1")
    command.add_argument("--probabilities", required=True, type=Path, help="table to write")
    arguments = command.parse_args()

    classes = check_classes(arguments.model, arguments.settings)
    classifier, tokenizer = classifiers.load(arguments.model, KEY)
    rows = exchanges(arguments.turns, *arguments.shard)
    write_batches(
        classified(rows, classes, classifier, tokenizer, arguments.settings), ClassProbabilities, arguments.probabilities
    )


if __name__ == "__main__":
    cli.run(main)
