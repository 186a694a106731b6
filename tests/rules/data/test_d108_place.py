"""D108 in a script: the place is where the division is made, also inside a function of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from traindx.watch.collectors import shared_items
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.source_text import parsed

SPLITS = """\
def two_parts(rows):
    half = len(rows) // 2
    if not half:
        return rows, rows
    return rows[:half], rows[:half]
"""
TRAIN = """\
{divide}
train_loader = loader(train)
val_loader = loader(val)
"""


@pytest.mark.parametrize(
    ("divide", "file", "line"),
    [
        ("train, val = two_parts(rows)", "splits.py", 5),
        ("train, val = train_test_split(rows)", "train.py", 1),
        ("train, val = rows[:8], rows[4:]", "train.py", 1),
    ],
)
def test_the_place_is_in_the_function_that_divides(
    divide: str, file: str, line: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {tmp_path / "splits.py": SPLITS, tmp_path / "train.py": TRAIN.format(divide=divide)}
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    trees = {str(path): parsed(str(path)) for path in files}
    monkeypatch.setattr(shared_items, "own_sources", lambda: trees)
    script = str(tmp_path / "train.py")
    place = shared_items.divided_at(CallSite(script, 3, "main"), CallSite(script, 2, "main"))
    assert place is not None
    assert (Path(place.file).name, place.line) == (file, line)
