"""A rule reruns when its code means something else, and only then."""

import json

import pytest

from drift.workflow.fingerprint import NO_RESULT, Code, fingerprint
from tests.conftest import REPOSITORY

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
    "package/near.py": "from . import sibling\nfrom .cousin import FOUR\n\nONE = sibling.ONE * FOUR\nTWO = 2\n",
    "package/sibling.py": "ONE = 1\n",
    "package/cousin.py": "FOUR = 4\n",
    "package/deep.py": "value = 3\n",
    "outer/__init__.py": "import sys\n\nsys.six = 6\n",
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
    "a definition that is not used": ("package/near.py", "TWO = 2", "TWO = 3"),
    "a definition that comes": ("package/near.py", "TWO = 2", "TWO = 2\n\n\ndef three():\n    return 3"),
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
    "the package of an imported module": ("package/__init__.py", '"""A package."""', "print()"),
    "a package on the way to an imported module": ("outer/__init__.py", "6", "7"),
    "a data file": ("query.sql", "1", "2"),
    "a text that is no docstring": ("helper.py", "return 2 * x", "return 2 * x or 'text'"),
    "the name of an argument": ("helper.py", "def double(x):\n    return 2 * x", "def double(y):\n    return 2 * y"),
}


@pytest.mark.parametrize("edit", OTHER_MEANING)
def test_what_changes_the_meaning_changes_the_fingerprint(code, edit):
    before = code()
    assert edited(code, *OTHER_MEANING[edit]) != before


USES = {
    "a name": ("from package.near import TWO", "TWO"),
    "a name of a module": ("from package import near", "near.TWO"),
    "a name by its full path": ("import package.near", "package.near.TWO"),
    "a name under another one": ("import package.near as n", "n.TWO"),
    "everything": ("from package.near import *", "TWO"),
    "the module itself": ("from package import near", "vars(near)"),
    "a name that another module passes on": ("from gate import TWO", "TWO"),
    "a function that uses it": ("from gate import give", "give()"),
    "a class whose method uses it": ("from gate import Giver", "Giver().give()"),
    "a name in a table of the module": ("from gate import TABLE", "TABLE['two']()"),
    "a function that a decorator keeps": ("import gate", "None"),
}
GATE = """from package.near import TWO
from package import near

KEPT = []

def give():
    return near.TWO

class Giver:
    def give(self):
        return give()

TABLE = {"two": give}
"""


@pytest.mark.parametrize("use", USES)
def test_of_a_module_counts_what_is_used_by_whatever_way(code, use):
    statement, value = USES[use]
    gate = GATE if use != "a function that a decorator keeps" else GATE + "\n\n@KEPT.append\ndef kept():\n    return TWO\n"
    (code.folder / "gate.py").write_text(gate)
    (code.folder / "program.py").write_text(f"{statement}\n\n\ndef main():\n    return {value}\n")
    before = code()
    assert edited(code, "package/near.py", "TWO = 2", "TWO = 3") != before
    assert edited(code, "package/near.py", "TWO = 3", "TWO = 2") == before


def test_the_fingerprint_names_the_definition_that_changed(code):
    before = json.loads(code())["code"]
    after = json.loads(edited(code, "package/cousin.py", "4", "5"))["code"]
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == ["FOUR"]


def test_a_module_that_is_renamed_or_moved_reruns_nothing(code):
    before = code()
    (code.folder / "helper.py").rename(code.folder / "package/arithmetic.py")
    assert edited(code, "program.py", "import helper\n", "from package import arithmetic as helper\n") == before
    assert edited(code, "package/arithmetic.py", "2 * x", "3 * x") != before


def test_definitions_of_one_name_in_two_modules_both_count(code):
    (code.folder / "twin.py").write_text("def double(x):\n    return x + x\n")
    edited(code, "program.py", "import helper\n", "import helper\nimport twin\n")
    before = edited(code, "program.py", "helper.double(value)", "helper.double(twin.double(value))")
    assert edited(code, "twin.py", "x + x", "x") != before
    edited(code, "twin.py", "return x", "return x + x")
    assert edited(code, "helper.py", "2 * x", "3 * x") != before


def test_the_modules_that_shape_no_result_are_there_and_do_not_count(code):
    assert [name for name in NO_RESULT if not (REPOSITORY / "scripts" / name).is_file()] == []
    (code.folder / "drift").mkdir()
    (code.folder / "drift/cli.py").write_text("def parser():\n    return 1\n")
    before = edited(code, "program.py", "import helper\n", "import helper\nfrom drift.cli import parser\n")
    assert edited(code, "drift/cli.py", "return 1", "return 2") == before


def test_a_param_is_the_fingerprint_of_a_program_and_of_the_files_that_a_job_loads(code):
    param = Code(code.folder)
    assert param("program", "*.sql")(None) == code()
    assert param("program", code.folder / "query.sql")("wildcards") == code()
    by_job = param("program", lambda wildcards: code.folder / wildcards)
    assert by_job("query.sql") == code()
    assert by_job("unrelated.py") != code()


def test_a_module_that_a_program_loads_by_name_counts_with_what_it_uses(code):
    program, plugin = code.folder / "program.py", code.folder / "unrelated.py"
    before = fingerprint(program, plugin)
    plugin.write_text("from package.near import TWO\n\nx = TWO\n")
    with_use = fingerprint(program, plugin)
    edited(code, "package/near.py", "TWO = 2", "TWO = 3")
    assert len({before, with_use, fingerprint(program, plugin)}) == 3


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


def test_where_documentation_is_copied_from_does_not_count(code):
    (code.folder / "like.py").write_text("def like(section, key, **more):\n    return more\n")
    settings = (
        "from like import like\nfrom package import near\n\nFIELD = like(near.TWO, 'x', default=1)\n__all__ = ['FIELD']\n"
    )
    (code.folder / "settings.py").write_text(settings)
    (code.folder / "program.py").write_text("from settings import FIELD\n\n\ndef main():\n    return FIELD\n")
    before = code()
    assert edited(code, "package/near.py", "TWO = 2", "TWO = 3") == before
    assert edited(code, "settings.py", "'x'", "'y'") == before
    assert edited(code, "settings.py", "['FIELD']", "['FIELD', 'like']") == before
    assert edited(code, "settings.py", "default=1", "default=2") != before
