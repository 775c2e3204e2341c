"""What each policy explores: numbers with intervals, a picture a policy, and what neither says."""

import re

from drift.config import Config
from drift.report.exploration_tables import COLUMNS, VARIANTS, explored
from drift.report.landscapes import pictures
from drift.report.reading import Catalog
from tests.builders.run import CONFIG

POLICIES = [("base", -1), ("drift", 2), ("spin", 2)]


def test_each_policy_of_the_iteration_and_the_base_model_has_a_row(catalog):
    (group,) = explored(catalog, CONFIG)
    assert (group.model, group.iteration, group.n, group.total) == ("qwen-0.5b", 2, 4, 5)
    assert [(policy.method, policy.iteration) for policy, _ in group.rows] == POLICIES
    cells = dict(zip([column.label for column in COLUMNS], group.rows[1][1], strict=True))
    assert cells["Coverage, vectors"].value == "60.0%"
    assert cells["Coverage, vectors"].beside == ["50.0 to 70.0", "p 0.250"]
    assert cells["Coverage, maps"].beside == ["50.0 to 70.0", "±3.0% of maps", "p 0.250"]
    assert cells["Vendi score"].value == "0.60"
    assert cells["Coverage, beginnings"].value is None, "the tables do not have it"


def test_variants_stand_beside_what_counts(catalog):
    (group,) = explored(catalog, CONFIG)
    cells = dict(zip([column.label for column in VARIANTS], group.variants[0][1], strict=True))
    assert cells["maps, from 80%, bandwidth 0.5"].value == cells["vectors, from 80%"].value == "50.0%"
    assert cells["maps, from 90%, bandwidth 2"].value is None


def test_a_picture_whose_coverage_is_not_defined_says_so(catalog, monkeypatch):
    """As where no answer of the others is better than another: none keeps a check."""
    query = Catalog.query

    def undefined(self, sql, *values):
        return [row | {"value": None} if "value" in row else row for row in query(self, sql, *values)]

    monkeypatch.setattr(Catalog, "query", undefined)
    (group,) = explored(catalog, CONFIG)
    assert {words for _, words in group.pictures} == {"\N{EN DASH} on maps, \N{EN DASH} by vectors"}


def test_pictures_are_shapes_alone_in_the_colours_of_the_methods(catalog):
    drawn = pictures(catalog, CONFIG)
    assert [(one.policy.method, one.policy.iteration) for one in drawn] == POLICIES
    for picture, colour in zip(drawn, ("var(--start)", "var(--series-1)", "var(--series-2)"), strict=True):
        assert picture.svg.count(f'fill="{colour}"') == 4, "shades"
        assert picture.svg.count('stroke="var(--ink)"') == 1, "the region"
        assert "<text" not in picture.svg
        assert len(picture.svg) < 40_000


def test_nothing_is_shown_where_nothing_is_explored_any_more(catalog):
    without = Config.model_validate(CONFIG.model_dump(mode="json") | {"exploration": None})
    assert explored(catalog, without) == []


def test_the_page_says_what_a_map_may_not_be_read_for(page):
    text = " ".join(re.sub(r"<[^>]+>", " ", page[page.index('id="exploration"') : page.index('id="pairs"')]).split())
    assert "A map of UMAP shows which answers are neighbours, and nothing else:" in text
    assert "areas, distances between clouds and how dense these look mean nothing" in text
    assert "covers 60.0% on maps, 60.0% by vectors" in text
    assert '<a href="#exploration">Exploration</a>' in page


def test_the_view_names_the_iteration_that_is_explored(catalog: Catalog):
    rows = catalog.query("SELECT DISTINCT model, explored, method, iteration, seed FROM exploration ORDER BY ALL")
    assert [tuple(row.values()) for row in rows] == [
        ("qwen-0.5b", 2, "base", -1, 0),
        ("qwen-0.5b", 2, "drift", 2, 42),
        ("qwen-0.5b", 2, "spin", 2, 42),
    ]
