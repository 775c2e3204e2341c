"""Write the report of a run: one HTML page without outside content, for screens of all sizes.

Reads:  the catalog of the run (--catalog; its views are relative to the folder where it was made),
        the resolved configuration (--config), and Snakemake's timings (--timings/RULE/NAME.jsonl).
Writes: the page (--report).

Conversations are untrusted: the templates escape every text, the page forbids scripts and outside
content, and charts are labelled from the configuration only.
"""

import _python  # noqa: F401 - before what may be missing
from pathlib import Path

from drift import cli, files
from drift.report.page import contents, render
from drift.report.reading import Catalog, read_config


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--results", required=True, help="folder of the run, as the page should name it")
    command.add_argument("--config", required=True, type=Path, help="the resolved configuration, YAML")
    command.add_argument("--catalog", required=True, help="the run's DuckDB catalog")
    command.add_argument("--timings", required=True, type=Path, help="folder of Snakemake's timings")
    command.add_argument("--report", required=True, help="HTML page to write")
    arguments = command.parse_args()
    shown = contents(read_config(arguments.config), Catalog(arguments.catalog), arguments.timings)
    settings = arguments.config.read_text(encoding="utf-8")
    page = render(results=arguments.results, settings=settings, **shown)
    files.write_text(arguments.report, page)


if __name__ == "__main__":
    cli.run(main)
