"""What a script computes, prints, writes and gets back is the same watched as unwatched, idiom by idiom."""

from __future__ import annotations

import difflib
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import OBSERVED, Idiom, Ran, Zygote, all_idioms
from .known import BREAKS

WINDOW_ONLY = {"nothing_of_ours_is_left"}  # compared only where the window has ended
IN_FULL = (
    3  # one idiom of so many is watched in full in ``make test``, where a window is in full twice; the rest is slow
)


def cases() -> list[object]:
    found = []
    for number, idiom in enumerate(all_idioms()):
        for observed in OBSERVED:
            if idiom.name in WINDOW_ONLY and observed != "window":
                continue
            reason = BREAKS.get((idiom.name, observed)) or BREAKS.get((idiom.name, "both"))
            marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
            marks += [pytest.mark.slow] if observed == "full" and number % IN_FULL else []
            found.append(pytest.param(idiom, observed, id=f"{idiom.subject}-{idiom.name}-{observed}", marks=marks))
    return found


def difference(plain: Ran, watched: Ran) -> str:
    """The lines in which two runs differ."""
    pieces = []
    for name in ("stdout", "stderr"):
        one, other = getattr(plain, name).splitlines(), getattr(watched, name).splitlines()
        pieces += [
            line[:400] for line in difflib.unified_diff(one, other, f"unwatched {name}", "watched", n=0, lineterm="")
        ]
    if plain.files != watched.files:
        changed = {name for name, _ in plain.files.items() ^ watched.files.items()}
        pieces.append(f"files differ: {sorted(changed)}")
    return "\n".join([f"exit codes {plain.code} and {watched.code}", *pieces[:60], *watched.trouble])


@pytest.mark.parametrize(("idiom", "observed"), cases())
def test_watching_changes_nothing(zygote: Zygote, idiom: Idiom, observed: str) -> None:
    plain = zygote.run(idiom, None)
    assert plain.code == 0, f"the idiom itself fails:\n{plain.stdout}\n{plain.stderr}"
    watched = zygote.run(idiom, OBSERVED[observed])
    if watched != plain or watched.trouble:
        pytest.fail(difference(plain, watched), pytrace=False)


def test_the_list_in_the_docs_is_up_to_date() -> None:
    script = Path(__file__).parents[3] / "scripts" / "make_transparency.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0


def test_there_are_enough_idioms_and_each_has_its_own_title() -> None:
    idioms = all_idioms()
    assert len(idioms) >= 100
    assert len({idiom.name for idiom in idioms}) == len({idiom.title for idiom in idioms}) == len(idioms)
