"""The documentation that is made from the code: it is complete, and it is up to date."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from traindx.report import rule_page
from traindx.rules import Rule, catalogue
from traindx.rules.base import SECTIONS
from traindx.rules.relations import RELATIONS
from traindx.trials.treatments.registry import EVERY

ROOT = Path(__file__).resolve().parent.parent
RULES = list(catalogue().values())


@pytest.fixture(scope="module")
def make_docs() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_page_has_every_section_in_order_and_none_is_empty(rule: Rule) -> None:
    found = rule_page.sections(rule.page)
    assert [title for title in found if title in SECTIONS] == list(SECTIONS)
    empty = [title for title in SECTIONS if not found[title].strip()]
    assert empty == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_threshold_gives_its_reason(rule: Rule) -> None:
    for name, threshold in rule.thresholds.items():
        assert len(threshold.why.split()) >= 3, name


def test_pages_are_up_to_date(make_docs: ModuleType) -> None:
    assert make_docs.out_of_date() == [], "run `make docs`"


def test_the_table_of_contracts_is_up_to_date(make_docs: ModuleType) -> None:
    assert make_docs.CONTRACT_PAGE.read_text(encoding="utf-8") == make_docs.contracts(), "run `make docs`"


def test_what_must_hold_is_up_to_date(make_docs: ModuleType) -> None:
    assert make_docs.HOLDS.read_text(encoding="utf-8") == make_docs.what_must_hold(), "run `make docs`"


def test_tables_in_pages_written_by_hand_are_up_to_date(make_docs: ModuleType) -> None:
    for path in make_docs.TABLES:
        assert path.read_text(encoding="utf-8") == make_docs.with_tables(path), "run `make docs`"
    assert "| `OptimizerSeen` |" in make_docs.recorded()


def test_every_collector_has_a_subject_and_says_what_it_sees(make_docs: ModuleType) -> None:
    rows = [line.strip("| ").split(" | ") for line in make_docs.subjects().splitlines()[2:]]
    names = [row[0] for row in rows]
    assert len(names) == len(set(names))
    assert "something" not in names
    assert {"clamps", "influence of inputs", "configuration files", "ranks"} <= set(names)
    assert all(len(row[1].split()) > 4 for row in rows)


def test_every_treatment_says_what_it_does(make_docs: ModuleType) -> None:
    for one in EVERY.values():
        assert len(re.findall(rf"^\| `{one.name}` \|", make_docs.treatments(), re.MULTILINE)) == 1
        assert one.does[0].islower(), one.name
        assert not one.does.endswith("."), one.name
        assert len(one.does.split()) > 4


def test_every_rule_watches_one_relation(make_docs: ModuleType) -> None:
    codes = [code for relation in RELATIONS for code in relation.codes]
    assert sorted(codes) == sorted(rule.code for rule in RULES)
    page = make_docs.what_must_hold()
    for relation in RELATIONS:
        assert f"### {relation.holds}" in page
    mode = next(line for line in page.splitlines() if "[C1103]" in line)
    assert "script" in mode
    assert "no validation was seen" in mode


def test_a_changed_missing_or_left_over_page_is_noticed_and_mended(make_docs: ModuleType, tmp_path: Path) -> None:
    make_docs.write(tmp_path)
    assert make_docs.out_of_date(tmp_path) == []
    index = tmp_path / "README.md"
    index.write_text(index.read_text(encoding="utf-8") + "edited by hand\n", encoding="utf-8")
    (tmp_path / "Z999.md").write_text("a rule that is gone", encoding="utf-8")
    assert make_docs.out_of_date(tmp_path) == ["README.md", "Z999.md"]
    assert make_docs.write(tmp_path) == ["README.md", "Z999.md"]
    assert make_docs.out_of_date(tmp_path) == []
    index.unlink()
    assert make_docs.out_of_date(tmp_path) == ["README.md"]


def test_every_rule_has_a_page_and_is_in_the_index(make_docs: ModuleType) -> None:
    pages = make_docs.pages()
    assert set(pages) == {f"{rule.code}.md" for rule in RULES} | {"README.md"}
    for rule in RULES:
        assert f"({rule.code}.md)" in pages["README.md"]
        assert f"# {rule.code} {rule.name}" in pages[f"{rule.code}.md"]
        for title in SECTIONS:
            assert f"## {title}" in pages[f"{rule.code}.md"]


def test_sections_are_taken_apart() -> None:
    page = """What it finds: A sampler that does not invert. More of it.

Why it stops learning:
    The first line,
    and the second: with a colon.

    - one item that is
      continued
    - another item
Remedy:
    Do it.
"""
    found = rule_page.sections(page)
    assert list(found) == ["What it finds", "Why it stops learning", "Remedy"]
    assert rule_page.paragraphs(found["Why it stops learning"]) == [
        "The first line, and the second: with a colon.",
        "- one item that is continued",
        "- another item",
    ]
    assert rule_page.summary(page) == "A sampler that does not invert"
    assert rule_page.sections("What it finds: ``a`` or `b`.") == {"What it finds": "`a` or `b`."}
    before = f"A formula is wrong: even so. More.\n\n{page}"
    assert list(rule_page.sections(before)) == ["", "What it finds", "Why it stops learning", "Remedy"]
    assert rule_page.summary(before) == "A formula is wrong: even so"


def test_a_further_decider_is_printed_on_its_rules_page(make_docs: ModuleType) -> None:
    """A code has one page however many ways there are to decide it: each says what it needs and how it decides."""
    with_others = [rule for rule in catalogue().values() if rule.others]
    assert len(with_others) >= 15
    for rule in with_others:
        text = make_docs.page(rule)
        for other in rule.others:
            needs = ", ".join(kind.__name__ for kind in other.needs)
            first = " ".join(inspect.cleandoc(other.function.__doc__ or "").split("\n")[0].split()).replace("``", "`")
            assert f"## Also decided from {needs}" in text, rule.code
            assert first in text, rule.code
