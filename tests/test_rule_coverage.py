"""The count of each rule's tests: what counts as looking, and which sessions may be judged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rule_coverage
from traindx.evidence import Evidence
from traindx.evidence.dataset import FileCensus
from traindx.rules.data.d131_format_hidden import format_hidden

ROOT = Path(__file__).resolve().parent.parent


def census(readable: int) -> Evidence:
    evidence = Evidence()
    evidence.add(FileCensus(root=".", files=3, readable=readable, unreadable=3 - readable))
    return evidence


def test_a_rule_that_had_nothing_to_look_at_did_not_keep_silent() -> None:
    assert not rule_coverage.looked(format_hidden, Evidence())
    assert not rule_coverage.looked(format_hidden, census(0))
    assert rule_coverage.looked(format_hidden, census(1))


def session(**options: Any) -> Any:
    usual = {
        "keyword": "", "deselect": None, "ignore": None, "ignore_glob": None, "maxfail": 0, "markexpr": "not slow",
        "lf": False, "stepwise": False, "collectonly": False,
    }  # fmt: skip
    args = options.pop("args", ["tests"])
    return SimpleNamespace(
        option=SimpleNamespace(**{**usual, **options}),
        args=args,
        invocation_params=SimpleNamespace(dir=ROOT),
        rootpath=ROOT,
        getini={"testpaths": ["tests"]}.__getitem__,
    )


def test_a_session_of_all_tests_is_judged(pytestconfig: pytest.Config) -> None:
    assert rule_coverage.everything(session())
    assert rule_coverage.everything(session(markexpr=""))
    assert set(vars(session().option)) <= set(vars(pytestconfig.option)) | {"lf", "stepwise"}  # pytest's own names


@pytest.mark.parametrize(
    "options",
    [
        {"args": ["tests/rules"]},
        {"args": ["tests/rules/data/test_d131.py", "tests"]},
        {"args": ["tests/test_docs.py::test_pages_are_up_to_date"]},
        {"keyword": "sampler"},
        {"deselect": ["tests/rules"]},
        {"ignore": ["tests/rules"]},
        {"maxfail": 1},
        {"markexpr": "slow"},
        {"lf": True},
        {"collectonly": True},
    ],
    ids=str,
)
def test_a_session_of_some_tests_is_not(options: dict[str, Any]) -> None:
    assert not rule_coverage.everything(session(**options))
