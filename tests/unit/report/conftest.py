"""A built run with its page, shared by the tests of the report."""

import pytest

from drift.report.reading import Catalog
from tests.builders.run import build_results, render_page


@pytest.fixture(scope="package")
def home(tmp_path_factory):
    """A folder with the run at results/demo."""
    folder = tmp_path_factory.mktemp("repository")
    build_results(folder)
    return folder


@pytest.fixture(scope="package")
def page(home):
    """The report of that run."""
    return render_page(home)


@pytest.fixture
def catalog(home, monkeypatch):
    """The catalog of that run, opened where it was made."""
    monkeypatch.chdir(home)
    return Catalog("results/demo/catalog.duckdb")
