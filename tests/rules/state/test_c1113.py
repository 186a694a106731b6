"""C1113: options of which a library says that it ignores them."""

from __future__ import annotations

import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from traindx.evidence import Evidence
from traindx.finding import Standing
from traindx.rules import catalogue
from traindx.watch.collectors.exceptions import WarningFilters

LIBRARY = """
import warnings

def overlap(channels, say, category=UserWarning):
    warnings.warn(say, category)
    return 0.0
"""


@pytest.fixture
def filters() -> Iterator[WarningFilters]:
    seen = WarningFilters()
    seen.install()
    yield seen
    seen.patches.undo()


def library() -> Callable[..., float]:
    """A function whose code counts as an installed package's."""
    file = Path(sysconfig.get_paths()["purelib"], "segmentics", "losses.py")
    space: dict[str, Callable[..., float]] = {"__name__": "segmentics.losses"}  # type: ignore[dict-item]
    exec(compile(LIBRARY, str(file), "exec"), space)
    return space["overlap"]


def found(filters: WarningFilters) -> list:
    evidence = Evidence()
    for record in filters.records():
        evidence.add(record)
    rule = catalogue()["C1113"]
    return rule.check(evidence) if rule.applies(evidence) else []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "say", ["single channel, softmax=True ignored.", "weight has no effect here", "ignoring the background channel"]
)
def test_what_a_library_says_it_ignores_is_told_at_the_line_that_asked(say: str, filters: WarningFilters) -> None:
    overlap = library()
    for _ in range(2):
        overlap(1, say)
    (finding,) = found(filters)
    assert finding.standing is Standing.SUSPECTED
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip() == "overlap(1, say)"
    assert finding.message.startswith("segmentics ")
    assert finding.numbers["times"] == 2


@pytest.mark.filterwarnings("ignore")
def test_deprecations_other_warnings_and_those_of_the_script_are_left_alone(filters: WarningFilters) -> None:
    overlap = library()
    overlap(1, "this argument is ignored from 3.0 on", DeprecationWarning)
    overlap(1, "this argument is ignored from 3.0 on", FutureWarning)
    overlap(1, "the loader has few workers")
    warnings.warn("my own: rare classes are ignored", stacklevel=1)
    assert found(filters) == []
