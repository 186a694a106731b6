"""The excerpt shows the user's own lines, as they are."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traindx.finding import Location
from traindx.report import source
from traindx.report.remedies import Code, parse

CODE = 'def f(x):\n    """Doc,\n    two lines."""\n    y = x * 2.5  # twice\n    return f"{y} and" + "more"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(CODE, encoding="utf-8")
    return path


def test_the_guilty_line_and_its_neighbours(tmp_path: Path, file: Path) -> None:
    lines = source.excerpt(Location(file=file.name, line=4), around=1, root=tmp_path)
    assert [(line.number, line.at_fault) for line in lines] == [(3, False), (4, True), (5, False)]
    assert [line.text for line in lines] == ['two lines."""', "y = x * 2.5  # twice", 'return f"{y} and" + "more"']


def test_common_indentation_is_removed_and_no_more(tmp_path: Path, file: Path) -> None:
    lines = source.excerpt(Location(file=file.name, line=1), around=9, root=tmp_path)
    assert "\n".join(line.text for line in lines) + "\n" == CODE


def test_colours(tmp_path: Path, file: Path) -> None:
    lines = source.excerpt(Location(file=file.name, line=4), around=9, root=tmp_path)
    kinds = {(span.text.strip(), span.kind) for line in lines for span in line.spans if span.kind}
    assert ("def", "keyword") in kinds
    assert ('two lines."""', "string") in kinds
    assert ("2.5", "number") in kinds
    assert ("# twice", "comment") in kinds
    assert ("return", "keyword") in kinds


def test_empty_lines_at_the_ends_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("\n  \na = 1\n\nb = 2\n\n\n", encoding="utf-8")

    def shown(line: int) -> list[int]:
        return [item.number for item in source.excerpt(Location(file="x.py", line=line), root=tmp_path)]

    assert shown(4) == [3, 4, 5]
    assert shown(1) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "location",
    [None, Location(file="model.py"), Location(file="model.py", line=99), Location(file="gone.py", line=1)],
)
def test_what_cannot_be_shown_is_empty(tmp_path: Path, file: Path, location: Location | None) -> None:
    assert source.excerpt(location, root=tmp_path) == ()


def test_a_directory_or_a_broken_file_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "broken.py").write_bytes(b"def f(:\n  '''never ends\n\xff\xfe\n")
    assert source.excerpt(Location(file="folder.py", line=1), root=tmp_path) == ()
    lines = source.excerpt(Location(file="broken.py", line=1), root=tmp_path)
    assert lines[0].text == "def f(:"


@given(st.text(alphabet=st.sampled_from(list("ab=('\"#\\\n {}f0.:é")), max_size=120))
def test_colouring_never_changes_a_character(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("s") / "x.py"
    path.write_text(text, encoding="utf-8")
    written = text.splitlines()
    for number in range(1, len(written) + 1):
        shown = source.excerpt(Location(file=str(path), line=number), around=0)
        assert [line.text for line in shown] == [written[number - 1].lstrip(" ") or written[number - 1]]


def test_remedy_is_taken_apart() -> None:
    remedy = parse("Recover the noise\nfrom x0.\n\nThen retrain.\n```before\na\n  b\n```\n```after\nc\n```\n")
    assert remedy.paragraphs == ("Recover the noise from x0.", "Then retrain.")
    assert remedy.code == (Code("before", "a\n  b"), Code("after", "c"))


@pytest.mark.parametrize("text", ["", "No code at all, but `a` name.", "``` not closed"])
def test_remedy_without_code(text: str) -> None:
    assert parse(text).code == ()
    assert " ".join(parse(text).paragraphs) == " ".join(itertools.chain(text.split()))
