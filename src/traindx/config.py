"""The configuration: ``[tool.traindx]`` in the nearest ``pyproject.toml``. The command line overrides it.

::

    [tool.traindx]
    select = ["S", "M210"]      # codes, or the beginnings of codes; everything by default
    ignore = ["Y705"]
    budget = "3m"
    seeds = 3                   # a number of seeds, or the seeds themselves

    [tool.traindx.thresholds.S501]
    max_deviation = 0.01
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, field_validator

from traindx.durations import seconds
from traindx.errors import InputError, UsageError
from traindx.finding import Frozen

if TYPE_CHECKING:
    from traindx.rules import Registry

TABLE = "tool.traindx"


class Config(Frozen):
    """What the user has set, or the defaults.

    Attributes:
        select: Codes or beginnings of codes to run; empty means all.
        ignore: Codes or beginnings of codes to leave out; stronger than ``select``.
        thresholds: ``{code: {threshold: value}}``.
        budget: Time for trials, as ``3m`` or ``90s``.
        seeds: How many paired seeds, or which.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    thresholds: dict[str, dict[str, float]] = Field(default_factory=dict)
    budget: str = "3m"
    seeds: int | tuple[int, ...] = 3

    @field_validator("budget", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> str:
        try:
            seconds(value)
        except UsageError as error:
            raise ValueError(f"{error.found}; expected {error.expected}") from error
        return str(value)

    @field_validator("seeds")
    @classmethod
    def _at_least_one(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if (isinstance(value, int) and value < 1) or value == ():
            raise ValueError("at least one seed is needed")
        return value

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds themselves."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


def find(start: Path) -> Path | None:
    """The nearest ``pyproject.toml`` at or above a directory (or a file's directory), or None."""
    start = start.resolve()
    for directory in (start, *start.parents):
        candidate = directory / "pyproject.toml"
        if candidate.is_file():
            return candidate
    return None


def load(start: Path) -> Config:
    """The configuration that holds at a place; defaults where there is no table.

    Raises:
        InputError: The file is not TOML, or a key in the table is unknown or has a value that cannot be used.
    """
    path = find(start)
    if path is None:
        return Config()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"it cannot be read: {error}", expected="a TOML file", where=str(path)) from error
    table = document.get("tool", {}).get("traindx", {})
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        raise _refusal(error, path, table) from error


def _refusal(error: ValidationError, path: Path, table: Any) -> InputError:
    """An error that names the key, from the first of pydantic's."""
    first = error.errors()[0]
    keys = [str(part) for part in first["loc"] if str(part) not in ("int", "tuple[int, ...]")]
    key = ".".join([TABLE, *keys])
    if first["type"] == "extra_forbidden":
        known = list(Config.model_fields)
        near = difflib.get_close_matches(keys[-1], known, n=1)
        return InputError(
            f"{key} is not a key that traindx knows",
            expected=f"one of {', '.join(known)}",
            do=f"did you mean {near[0]}?" if near else "",
            where=str(path),
        )
    if not isinstance(table, Mapping):
        return InputError(f"{TABLE} is not a table", expected=f"[{TABLE}]", where=str(path))
    return InputError(f"{key} cannot be used: {first['msg'].removeprefix('Value error, ')}", where=str(path))


def resolve_codes(selectors: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The rule codes that codes or beginnings of codes stand for, in the catalogue's order.

    Args:
        selectors: For example ``("S", "M210")``; ``ALL`` is everything. Letter case does not matter.
        known: Every code there is.

    Raises:
        InputError: A selector stands for no rule.
    """
    codes = list(known)
    chosen: set[str] = set()
    for selector in selectors:
        start = selector.strip().upper()
        found = codes if start == "ALL" else [code for code in codes if start and code.startswith(start)]
        if not found:
            near = difflib.get_close_matches(start, codes, n=1, cutoff=0.5)
            raise InputError(
                f"there is no rule {selector!r}",
                expected="a code such as S501, or the beginning of one such as S",
                do=f"did you mean {near[0]}? `traindx rules` lists them all" if near else "list them: `traindx rules`",
            )
        chosen.update(found)
    return tuple(code for code in codes if code in chosen)


def check_thresholds(thresholds: Mapping[str, Mapping[str, float]], rules: Registry) -> dict[str, dict[str, float]]:
    """Thresholds by the catalogue's own codes.

    Raises:
        InputError: A code or a threshold does not exist; the key is named.
    """
    checked: dict[str, dict[str, float]] = {}
    for code, values in thresholds.items():
        if code.upper() not in rules:
            raise InputError(f"{TABLE}.thresholds.{code}: there is no rule {code!r}", do="list them: `traindx rules`")
        rule = rules[code]
        for name in values:
            if name not in rule.thresholds:
                raise InputError(
                    f"{TABLE}.thresholds.{code}.{name}: rule {rule.code} has no such threshold",
                    expected=f"one of {', '.join(sorted(rule.thresholds)) or 'none'}",
                    do=f"see `traindx explain {rule.code}`",
                )
        checked[rule.code] = dict(values)
    return checked
