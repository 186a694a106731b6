"""``[tool.traindx]``: found, checked, and every error names the key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from traindx import config
from traindx.errors import InputError
from traindx.evidence import Evidence, Record
from traindx.finding import Severity
from traindx.rules import Found, Limits, Registry, Threshold, rule


def wrote(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str) -> str:
    path = wrote(folder, text)
    with pytest.raises(InputError) as caught:
        config.load(folder)
    assert caught.value.exit_code == 2
    assert caught.value.where == str(path)
    return str(caught.value)


def test_everything_is_read(tmp_path: Path) -> None:
    wrote(
        tmp_path,
        '[tool.traindx]\nselect = ["S", "M210"]\nignore = ["S502"]\nbudget = "90s"\nseeds = 4\n'
        "[tool.traindx.thresholds.S501]\nmax_deviation = 0.01\n",
    )
    found = config.load(tmp_path)
    assert found.select == ("S", "M210")
    assert found.ignore == ("S502",)
    assert found.budget == "90s"
    assert found.seed_list == (0, 1, 2, 3)
    assert found.thresholds == {"S501": {"max_deviation": 0.01}}


def test_defaults_without_a_table_or_a_file(tmp_path: Path) -> None:
    wrote(tmp_path, '[project]\nname = "x"\n')
    assert config.load(tmp_path) == config.Config()
    assert config.Config().seed_list == (0, 1, 2)


def test_the_nearest_file_wins_even_without_a_table(tmp_path: Path) -> None:
    wrote(tmp_path, "[tool.traindx]\nseeds = 9\n")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert config.load(inner).seeds == 9
    wrote(tmp_path / "a", "[project]\n")
    assert config.load(inner).seeds == 3


def test_seeds_themselves(tmp_path: Path) -> None:
    wrote(tmp_path, "[tool.traindx]\nseeds = [3, 5]\n")
    assert config.load(tmp_path).seed_list == (3, 5)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ('seeds = "three"', "tool.traindx.seeds"),
        ("seeds = 0", "tool.traindx.seeds"),
        ("seeds = []", "tool.traindx.seeds"),
        ('budget = "soon"', "tool.traindx.budget"),
        ("budget = -1", "tool.traindx.budget"),
        ('select = "S501"', "tool.traindx.select"),
        ("ignore = [3]", "tool.traindx.ignore"),
        ('thresholds.S501.max_deviation = "big"', "tool.traindx.thresholds.S501.max_deviation"),
        ("thresholds.S501 = 3", "tool.traindx.thresholds.S501"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_by_its_key(tmp_path: Path, table: str, key: str) -> None:
    message = refused(tmp_path, f"[tool.traindx]\n{table}\n")
    assert f"{key} cannot be used" in message.replace(".0 cannot", " cannot")


def test_an_unknown_key_names_the_near_one(tmp_path: Path) -> None:
    message = refused(tmp_path, "[tool.traindx]\nbudgte = '3m'\n")
    assert "tool.traindx.budgte is not a key" in message
    assert "did you mean budget?" in message


def test_a_table_that_is_none(tmp_path: Path) -> None:
    assert "tool.traindx is not a table" in refused(tmp_path, "tool.traindx = 3\n")


def test_broken_toml_gives_the_line(tmp_path: Path) -> None:
    assert "line 2" in refused(tmp_path, "[tool.traindx]\nseeds = = 3\n")


CODES = ("D101", "M210", "S501", "S502", "R1001", "R1002")


@pytest.mark.parametrize(
    ("selectors", "chosen"),
    [
        (("S",), ("S501", "S502")),
        (("m210", "S50"), ("M210", "S501", "S502")),
        (("R1001",), ("R1001",)),
        (("ALL",), CODES),
        ((), ()),
    ],
)
def test_codes_and_beginnings_of_codes(selectors: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    assert config.resolve_codes(selectors, CODES) == chosen


@pytest.mark.parametrize("selector", ["S503", "Q", "", "501"])
def test_a_selector_for_nothing_is_refused(selector: str) -> None:
    with pytest.raises(InputError, match="there is no rule"):
        config.resolve_codes([selector], CODES)


class SamplerThing(Record):
    value: float


@rule("S599", "thing", Severity.MINOR, needs=(SamplerThing,), limit=Threshold(1.0, "because it is a test"))
def thing(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Nothing."""
    yield from ()


def test_thresholds_are_checked_against_the_catalogue() -> None:
    rules = Registry([thing])
    assert config.check_thresholds({"s599": {"limit": 2.0}}, rules) == {"S599": {"limit": 2.0}}
    with pytest.raises(InputError, match=r"tool\.traindx\.thresholds\.S501: there is no rule"):
        config.check_thresholds({"S501": {}}, rules)
    with pytest.raises(InputError, match=r"tool\.traindx\.thresholds\.S599\.limt: .* no such threshold"):
        config.check_thresholds({"S599": {"limt": 2.0}}, rules)
