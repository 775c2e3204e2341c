"""axe finds no fault in the page, light and dark, on a screen and on a phone.

It runs in headless Chromium on a copy of the page that may run a script.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to run axe in: apt-get install chromium")
# What is asked of the page: WCAG 2.1 A and AA, and the best practices of axe.
RUN = """
axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).then(found => {
  document.documentElement.innerHTML = "<body></body>";
  document.body.textContent = JSON.stringify(found.violations.map(
    one => [one.id, one.nodes.length, one.nodes.slice(0, 3).map(node => node.html.slice(0, 200))]));
});
"""


# How wide the first cells of the rows are, those of one table as its widest.
WIDTHS = """
const widths = [...document.querySelectorAll(".scroll table")].map(
  table => Math.max(0, ...[...table.querySelectorAll("tbody th")].map(cell => cell.offsetWidth)));
document.documentElement.innerHTML = "<body></body>";
document.body.textContent = JSON.stringify(widths.filter(width => width > 0));
"""


def answered(page: str, folder: Path, script: str, *options: str) -> list:
    """What a script that is run in the page leaves as its only text, a list in JSON."""
    # The page itself forbids scripts.
    allowed = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page)
    allowed = allowed.replace("<details", "<details open")
    (folder / "page.html").write_text(allowed.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", *options]
    command += ["--virtual-time-budget=60000", "--dump-dom", (folder / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found = re.search(r"<body>(\[.*\])</body>", done.stdout, re.DOTALL)
    assert found, f"the script did not finish: {done.stdout[:300]} {done.stderr[-300:]}"
    return json.loads(found[1])


@pytest.mark.parametrize(
    "options",
    [["--window-size=1400,1000"], ["--window-size=390,800", "--blink-settings=preferredColorScheme=0"]],
    ids=["light", "dark, narrow"],
)
def test_axe_finds_no_fault(page, tmp_path, options):
    """Each fault: its rule, the number of elements and the first of them."""
    axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    assert answered(page, tmp_path, script + RUN, *options) == []


def test_on_a_phone_names_of_policies_are_not_broken_within_a_word(page, tmp_path):
    widths = answered(page, tmp_path, WIDTHS, "--window-size=390,800")
    assert widths
    assert min(widths) > 100
