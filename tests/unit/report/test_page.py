"""The page shows the numbers of the tables, and nothing that a conversation says can act in it."""

import html
import itertools
import re
import shutil
from html.parser import HTMLParser

import polars as pl
import pytest
import yaml

from drift import tables
from tests.builders.run import CONFIG, build_catalog, render_page


class Page(HTMLParser):
    """The elements, attributes and texts of a page as a browser would build them."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.words, self.values = set(), set(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "data":
            self.values.append(float(dict(attrs)["value"]))

    def handle_data(self, data):
        self.words.append(data)


def test_texts_of_conversations_cannot_act(page):
    parsed = Page(page)
    assert not parsed.tags & {"script", "img", "b onclick", "iframe", "object", "link"}
    assert not [name for name in parsed.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in "".join(parsed.words), "the text itself must be there to read"
    assert "{{7*7}} {% for x in y %} ${6*6}" in "".join(parsed.words), "a text is not a template"
    assert "\x00" not in page
    assert "\u202e" not in page


def test_page_needs_no_network(page):
    outside = set(re.findall(r"""(?:href|src|url)\s*[=(]\s*["']?(?!#)[^"'\s>]+""", re.sub(r"&[#\w]+;.*", "", page)))
    assert outside == {'href="http://www.w3.org/1999/xlink'} or not outside
    assert "default-src 'none'" in page


def test_ids_are_those_of_sections_and_the_menu_leads_to_each(page):
    ids = re.findall(r'\sid="([^"]*)"', page)
    sections = [
        *("verdict", "trust", "answers", "scores", "judges", "primary", "comparisons", "curves", "behaviour", "exploration"),
        *("pairs", "quality", "lengths", "sampled", "dropped", "diagnostics", "ledger", "labels", "gates", "cost", "settings"),
    ]
    boxes = ["show-m0", "show-m1", "show-i1", "show-i2", "show-b0", "show-b1", "pick-1", "pick-2"]
    assert [name for name in ids if name not in boxes] == sections, "ids of charts would collide"
    assert {name for name in ids if name in boxes} == set(boxes)
    below = {"judges", "primary", "quality", "lengths", "sampled", "dropped", "labels"}
    assert set(re.findall('href="#([^"]*)"', page)) == {*sections} - below, "the menu leads to what is not below another"


def test_table_shows_the_scores(page, home):
    scores = tables.read_table(tables.Scores, home / "results/demo/eval/scores.parquet").filter(seed=0)
    assert sorted(Page(page).values) == pytest.approx(sorted(scores["value"].drop_nulls().to_list()))
    win = scores.row(
        by_predicate=(pl.col("metric") == "win_rate") & (pl.col("method") == "drift") & (pl.col("iteration") == 2), named=True
    )
    assert f">{100 * win['value']:.1f}%</data>" in page
    assert f"{100 * win['low']:.1f} to {100 * win['high']:.1f}" in page


def test_every_policy_of_scores_and_comparisons_has_its_sign(page):
    section = page[page.index('id="scores"') : page.index('id="curves"')]
    signs = re.findall(r'<th scope="row"><span class="sign"[^>]*>(.*?)</span>', section)
    assert len(signs) > 20
    assert set(signs) == {"●", "■"}


def test_untrusted_judge_and_heuristic_labels_are_named(page):
    assert "verdicts of this judge mean nothing by themselves" in page
    assert "lexical heuristic" in page


def test_validation_of_a_judge_is_shown_after_the_scores(page):
    assert re.search(r'title="30 items">0\.12</span><span class="interval">0\.00 to 0\.25</span>', page)
    assert page.index('id="scores"') < page.index('id="judges"') < page.index('id="curves"')


def test_agreement_and_quarantined_prompts_are_shown(page):
    assert "0.91" in page
    assert "0.79 to 0.98" in page
    assert "1 of dsat (arena, ngram)" in page
    text = " ".join(page.split())
    assert "late was not kept out (keep_out: false): 2 of its 5 tasks are held by 3 training rows" in text


def test_accuracy_of_lexical_labels_is_shown_whoever_made_the_pairs(page):
    section = page[page.index('id="labels"') : page.index('id="gates"')]
    assert "precision 0.93" in section
    assert "labels made by people" in section.lower()
    assert "8 of 15" in section


def test_judge_that_was_several_models_is_refused_with_cause_and_cure(home, tmp_path):
    """The verdicts on one policy come from another model under the same name: none are shown."""
    shutil.copytree(home / "results", tmp_path / "results")
    file = tmp_path / "results/demo/qwen-0.5b/spin/seed42/iter2/eval/heldout/judge/tiny/completions/1-of-1.parquet"
    tables.write_table(pl.read_parquet(file).with_columns(policy_hash=pl.lit("other")), tables.Completions, file)
    page = render_page(tmp_path)
    others = "the base model, drift iteration 1, drift iteration 2, spin iteration 1, the warm-up"
    assert f"tiny was 2 models when it judged heldout: any for {others}; other for spin iteration 2" in page
    assert "Delete the judge" in page
    scores = tables.read_table(tables.Scores, home / "results/demo/eval/scores.parquet").filter(seed=0)
    unjudged = scores.filter(judge="")["value"].drop_nulls().to_list()
    assert sorted(Page(page).values) == pytest.approx(sorted(unjudged)), "scores without a judge stay"
    assert "judged by tiny" not in page


def test_every_query_beside_a_table_runs(page, catalog):
    queries = [html.unescape(text) for text in re.findall(r'<pre tabindex="0"><code>(.*?)</code></pre>', page, re.DOTALL)]
    assert len(queries) > 12
    for query in queries:
        catalog.query(query)
    scores = next(query for query in queries if "FROM scores WHERE benchmark = 'heldout'" in query)
    assert {row["metric"] for row in catalog.query(scores)} >= {"win_rate", "position_flip_rate"}


def test_headings_descend_a_step_at_a_time_and_every_table_has_a_caption(page):
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.count("<table") == page.count("<caption>")


def test_a_box_hides_the_rows_of_its_name_and_a_picked_method_shows_its_answers(page):
    for name in ("m0", "i2", "b0"):
        assert f"body:has(#show-{name}:not(:checked)) .{name} {{ display: none; }}" in page
        assert re.search(rf'<(tr|li|section|figure)[^>]* class="[^"]*\b{name}\b', page), name
    assert "body:has(#pick-2:not(:checked)) .answers-2 { display: none; }" in page
    assert page.count('class="answers-') == 2


def test_a_chart_says_its_values(page, catalog):
    (row,) = catalog.query(
        "SELECT value FROM scores WHERE metric = 'win_rate' AND method = 'spin' AND iteration = 2 AND seed = 0"
    )
    label = next(label for label in re.findall('role="img" aria-label="([^"]*)"', page) if label.startswith("Win rate:"))
    assert f"spin 2 {100 * row['value']:.1f}%" in label


def test_a_page_without_texts_has_no_word_of_a_conversation_and_no_id(home, tmp_path, page):
    shutil.copytree(home / "results", tmp_path / "results")
    config = CONFIG.model_copy(update={"report": CONFIG.report.model_copy(update={"texts": "none"})})
    file = tmp_path / "results/demo/config.resolved.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    bare = render_page(tmp_path)
    turns = pl.read_parquet(home / "results/demo/data/turns.parquet")
    openings = {text[:40] for column in ("user", "response") for text in turns[column] if len(text) > 40}
    shown, left = ("".join(Page(text).words) for text in (page, bare))
    assert [opening for opening in openings if opening in shown], "the page with texts has them"
    assert [opening for opening in openings if opening in left] == []
    assert "wildchat:0" in shown
    assert "wildchat:0" not in left
    assert "c99/0" not in left
    assert "left out of this page (report.texts: none)" in left
    assert "1 of dsat (arena, ngram)" in left, "numbers stay"


def test_same_run_gives_the_same_page(page, home):
    assert render_page(home) == page


def test_report_of_a_run_without_results(tmp_path):
    (tmp_path / "results/demo").mkdir(parents=True)
    (tmp_path / "results/demo/config.resolved.yaml").write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")))
    build_catalog(tmp_path)
    page = render_page(tmp_path)
    assert "No policy was scored." in page
    assert "No timings." in page
