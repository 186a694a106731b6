"""What is to be examined becomes a case, or an error with the user's file and line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from traindx.case import Case
from traindx.cli import catalogues
from traindx.cli.target import load_case, parse
from traindx.errors import CaseError, InputError, TraindxError, UsageError

HEAD = "import traindx as dx\n"
GOOD = HEAD + "case = dx.Case(model=lambda: None, train=[1, 2], name='mine')\n"

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("my_case", "traindx_case_my_case"):
        sys.modules.pop(name, None)

    def make(text: str, name: str = "my_case.py") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return make


def refused(kind: type[TraindxError], target: str, faults: tuple[str, ...] = (), **options: Any) -> TraindxError:
    with pytest.raises(kind) as caught:
        load_case(target, faults, **options)
    assert type(caught.value) is kind
    return caught.value


@pytest.mark.parametrize("text", ["", "case", "my_case.py", "my_case.py:", "my_case.py:a-b", "recipe:", "folder:case"])
def test_what_is_no_target(write: Write, text: str) -> None:
    write(GOOD)
    refused(UsageError, text)


def test_a_file_alone_is_told_what_to_add(write: Write) -> None:
    write(GOOD)
    assert "my_case.py:case" in str(refused(UsageError, "my_case.py"))


def test_a_missing_file(write: Write) -> None:
    assert "gone.py does not exist" in str(refused(UsageError, "gone.py:case"))


def test_targets_are_taken_apart() -> None:
    assert (parse("recipe:xray2ct").kind, parse("recipe:xray2ct").label) == ("recipe", "xray2ct")
    here = f"{__file__}:other"
    assert (parse(here).name, parse(here).attribute, parse(here).label) == (__file__, "other", "test_cli_target-other")
    assert parse(here).directory == Path(__file__).parent


def test_a_case_and_a_function_that_returns_one(write: Write) -> None:
    write(GOOD + "def make(size=1):\n    return case.replace(steps=size)\n")
    assert load_case("my_case.py:case").name == "mine"
    assert load_case("my_case.py:make", size=7).steps == 7
    assert load_case("my_case.py:case", device="cuda:1").device == "cuda:1"
    assert load_case(parse("my_case.py:case").absolute).name == "mine"


def test_options_that_nothing_takes(write: Write) -> None:
    write(GOOD + "def make(size=1):\n    return case\n")
    assert "make() has no option 'depth'" in str(refused(UsageError, "my_case.py:make", depth=1))
    refused(UsageError, "my_case.py:case", depth=1)


def test_a_file_that_raises_names_its_line(write: Write) -> None:
    write(GOOD + "\n\nx = 1 / 0\n")
    error = refused(CaseError, "my_case.py:case")
    assert error.where == "my_case.py:5"
    assert "ZeroDivisionError: division by zero" in error.found
    assert error.exit_code == 3
    assert "my_case" not in sys.modules


def test_a_function_that_raises_names_the_innermost_line_of_the_user(write: Write) -> None:
    write("def inner():\n    import json\n    json.loads('{')\n", "helper_of_mine.py")
    write(HEAD + "import helper_of_mine\ndef make():\n    helper_of_mine.inner()\n")
    assert refused(CaseError, "my_case.py:make").where == "helper_of_mine.py:3"
    sys.modules.pop("helper_of_mine")


def test_a_syntax_error_names_its_line(write: Write) -> None:
    write("x = 1\ndef f(:\n")
    error = refused(CaseError, "my_case.py:case")
    assert error.where == "my_case.py:2"
    assert "SyntaxError" in error.found


def test_a_script_that_exits(write: Write) -> None:
    write("import sys\nsys.exit(4)\n")
    error = refused(CaseError, "my_case.py:case")
    assert "sys.exit(4)" in error.found
    assert error.where == "my_case.py:2"
    assert "__main__" in error.do


def test_a_missing_name_lists_the_cases(write: Write) -> None:
    write(GOOD + "other = case\nnumber = 3\n")
    assert "case, other" in str(refused(InputError, "my_case.py:cas"))


@pytest.mark.parametrize("value", ["3", "lambda: 3", "'a case'"])
def test_what_is_no_case(write: Write, value: str) -> None:
    write(f"case = {value}\n")
    error = refused(InputError, "my_case.py:case")
    assert "expected: a traindx.Case" in str(error)


def test_errors_of_traindx_pass_through(write: Write) -> None:
    write(HEAD + "from traindx.errors import InputError\ndef make():\n    raise InputError('no CT here')\n")
    assert refused(InputError, "my_case.py:make").found == "no CT here"


def test_a_changed_file_is_run_again(write: Write) -> None:
    write(GOOD)
    assert load_case("my_case.py:case").name == "mine"
    write(GOOD.replace("mine", "yours"))
    assert load_case("my_case.py:case").name == "yours"


def test_a_file_called_like_a_library_replaces_nothing(write: Write) -> None:
    import json

    write(GOOD, "json.py")
    assert load_case("json.py:case").name == "mine"
    assert sys.modules["json"] is json


@dataclass
class ToyRecipe:
    def case(self, **options: Any) -> Case:
        if "break" in options:
            raise RuntimeError("no data")
        return Case(model=lambda: None, train=[1], name="toy", **options)  # type: ignore[arg-type, return-value]


@dataclass
class ToyFault:
    name: str
    recipe: str
    addition: str

    def apply(self, case: Case) -> Case:
        return case.replace(name=f"{case.name}+{self.addition}")


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [ToyFault("one", "toy", "1"), ToyFault("two", "toy", "2"), ToyFault("far", "other", "3")]
    monkeypatch.setattr(catalogues, "recipes", lambda: {"toy": ToyRecipe(), "other": ToyRecipe()})
    monkeypatch.setattr(catalogues, "faults", lambda: {fault.name: fault for fault in faults})


@pytest.mark.usefixtures("toys")
def test_faults_are_applied_in_their_order() -> None:
    assert load_case("recipe:toy").name == "toy"
    assert load_case("recipe:toy", ("two", "one")).name == "toy+2+1"
    assert load_case("recipe:toy", steps=3).steps == 3


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("target", "faults", "words"),
    [
        ("recipe:tox", (), "did you mean 'toy'?"),
        ("recipe:toy", ("twoo",), "did you mean 'two'?"),
        ("recipe:toy", ("far",), "belongs to recipe 'other'"),
    ],
)
def test_names_that_are_not_in_the_catalogues(target: str, faults: tuple[str, ...], words: str) -> None:
    assert words in str(refused(UsageError, target, faults))


@pytest.mark.usefixtures("toys")
def test_a_recipe_that_cannot_be_built() -> None:
    error = refused(CaseError, "recipe:toy", **{"break": 1})
    assert "recipe 'toy' could not be built: RuntimeError: no data" in error.found
    assert error.where.startswith("tests/cli/test_cli_target.py:") or "test_cli_target.py:" in error.where


def test_faults_need_a_recipe(write: Write) -> None:
    write(GOOD)
    refused(UsageError, "my_case.py:case", ("one",))
