"""The direction of a figure as the line that prints it computes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from traindx.trials.script.source_names import directions_in


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('print(step, float(loss), "val", float(nn.functional.mse_loss(net(x), y)))', {"val": False}),
        ('print(f"{step} val {F.l1_loss(net(x), y).item():.4f}")', {"val": False}),
        ('after = F.mse_loss(net(x), y).item()\nprint(f"val {after:.3f}")', {"val": False}),
        ('logging.info("val: %s", roc_auc_score(y, p))', {"val": True}),
        ('score = dice(p, y)\nprint("val =", score)', {"val": True}),
        ('print(f"val {net(x).mean():.3f}")', {}),
        ('print(f"train {F.mse_loss(a, b)} val {c}")', {}),
        ('print("val", accuracy(p, y) - mae(p, y))', {}),  # two ways at once
        ('print(f"eval {F.mse_loss(a, b)}")', {}),  # another name
        ("print(val)", {}),
        ('print("val", 0.3)', {}),
    ],
)
def test_the_functions_of_the_printed_expression_say_it(tmp_path: Path, line: str, expected: dict[str, bool]) -> None:
    file = tmp_path / "train.py"
    body = "\n".join(f"    {one}" for one in line.split("\n"))
    file.write_text(f"def main():\n{body}\n", encoding="utf-8")
    assert directions_in([str(file), str(tmp_path / "missing.py")], {"val"}) == expected


def test_sources_that_contradict_each_other_say_nothing(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text('print("val", dice(p, y))\nprint("val", mse_loss(p, y))\n', encoding="utf-8")
    assert directions_in([str(file)], {"val"}) == {}
    file.write_text("def broken(:\n", encoding="utf-8")
    assert directions_in([str(file)], {"val"}) == {}
