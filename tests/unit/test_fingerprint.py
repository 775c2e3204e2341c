"""A rule reruns when its code means something else, and only then."""

import pytest

from drift.fingerprint import fingerprint

PROGRAM = '''"""What it does."""
import helper
import outer.inner
from package import near


def main():
    """Do it."""
    from package.deep import value  # only where it is needed

    return helper.double(value) + near.ONE
'''
FILES = {
    "program.py": PROGRAM,
    "helper.py": "import json\n\n\ndef double(x):\n    return 2 * x\n",
    "package/__init__.py": '"""A package."""\n',
    "package/near.py": "from . import sibling\nfrom .cousin import FOUR\n\nONE = sibling.ONE\n",
    "package/sibling.py": "ONE = 1\n",
    "package/cousin.py": "FOUR = 4\n",
    "package/deep.py": "value = 3\n",
    "outer/__init__.py": "SIX = 6\n",
    "outer/inner.py": "",
    "unrelated.py": "x = 1\n",
    "query.sql": "select 1\n",
}


@pytest.fixture
def code(tmp_path):
    """A program with modules; call to get its fingerprint, with files changed."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def mark(**_):
        return fingerprint(tmp_path / "program.py", tmp_path / "query.sql")

    mark.folder = tmp_path
    return mark


def edited(code, name: str, old: str, new: str) -> str:
    """The fingerprint after `old` became `new` in file `name`."""
    path = code.folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return code()


SAME_MEANING = {
    "a comment": ("helper.py", "    return 2 * x", "    # twice\n    return 2 * x  # why"),
    "a docstring of a function": ("program.py", '"""Do it."""', '"""Do it well."""'),
    "a docstring of a module": ("program.py", '"""What it does."""', '"""What it is for."""'),
    "a docstring removed": ("program.py", '    """Do it."""\n', ""),
    "a docstring of an imported package": ("package/__init__.py", '"""A package."""', '"""The package."""'),
    "formatting": ("helper.py", "return 2 * x", "return (\n        2\n        * x\n    )"),
    "a file that is not imported": ("unrelated.py", "1", "2"),
}


@pytest.mark.parametrize("edit", SAME_MEANING)
def test_what_changes_no_meaning_changes_no_fingerprint(code, edit):
    before = code()
    assert edited(code, *SAME_MEANING[edit]) == before


OTHER_MEANING = {
    "the program": ("program.py", "+ near.ONE", "- near.ONE"),
    "an imported module": ("helper.py", "2 * x", "3 * x"),
    "a module imported inside a function": ("package/deep.py", "3", "5"),
    "a module imported by an imported one": ("package/sibling.py", "1", "2"),
    "a name imported relatively": ("package/cousin.py", "4", "5"),
    "the package of an imported module": ("package/__init__.py", '"""A package."""', "import os"),
    "a package on the way to an imported module": ("outer/__init__.py", "6", "7"),
    "a data file": ("query.sql", "1", "2"),
    "a text that is no docstring": ("helper.py", "return 2 * x", "return 2 * x or 'text'"),
    "the name of an argument": ("helper.py", "def double(x):\n    return 2 * x", "def double(y):\n    return 2 * y"),
}


@pytest.mark.parametrize("edit", OTHER_MEANING)
def test_what_changes_the_meaning_changes_the_fingerprint(code, edit):
    before = code()
    assert edited(code, *OTHER_MEANING[edit]) != before


def test_a_fingerprint_is_the_same_wherever_the_code_lies(code, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for name, text in FILES.items():
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_text(text)
    assert fingerprint(elsewhere / "program.py", elsewhere / "query.sql") == code()


def test_a_data_file_that_comes_or_moves_is_noticed(code):
    without, before = fingerprint(code.folder / "program.py"), code()
    assert without != before
    (code.folder / "query.sql").rename(code.folder / "other.sql")
    assert fingerprint(code.folder / "program.py", code.folder / "other.sql") not in (without, before)


def test_code_that_does_not_parse_is_an_error(code):
    (code.folder / "helper.py").write_text("def (:\n")
    with pytest.raises(SyntaxError):
        code()
