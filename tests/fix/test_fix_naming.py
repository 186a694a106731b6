"""Patches for names that are crossed, and for lines that were copied: the one name changes, and nothing beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from traindx.finding import Finding, Location, Severity
from traindx.fix import patch_for

CASES = [
    ("C1116", "arguments", "shown = overlay(mask, image)  # both\n", "mask", "image", "overlay(image, mask)  # both"),
    ("C1116", "results", "mask, image = load(path)\n", "mask", "image", "image, mask = load(path)"),
    ("C1116", "other", "loss = smoothness(moved)\n", "moved", "flow", "smoothness(flow)"),
    ("C1117", "copy", 'if loss["image"]["weight"] > 0:\n    pass\n', "image", "label", 'loss["label"]["weight"]'),
    ("C1117", "stand-in", "logits_s = outs_w['logits']\n", "outs_w", "outs_s", "logits_s = outs_s['logits']"),
    ("C1117", "left-over", "total += loss.item()\n", "loss", "val_loss", "total += val_loss.item()"),
]


def patched(code: str, variant: str, source: str, was: str, better: str, folder: Path) -> Any:
    (folder / "train.py").write_text(source)
    finding = Finding(
        code=code, name="x", message="x", severity=Severity.MAJOR, location=Location(file="train.py", line=1),
        variant=variant, numbers={"was": was, "better": better},
    )  # fmt: skip
    return patch_for(finding, folder)


@pytest.mark.parametrize(("code", "variant", "source", "was", "better", "wanted"), CASES)
def test_the_name_is_put_right(code, variant, source, was, better, wanted, tmp_path) -> None:
    patch = patched(code, variant, source, was, better, tmp_path)
    assert wanted in patch.after.decode()
    assert len(patch.after) - len(source) == (0 if variant in ("arguments", "results") else len(better) - len(was))


@pytest.mark.parametrize(
    ("code", "variant", "source", "was", "better"),
    [
        ("C1116", "arguments", "overlay(mask, image, mask)\n", "mask", "image"),  # which of the two
        ("C1116", "arguments", "overlay(a.b(1), image)\n", "", "image"),
        ("C1116", "text", 'print("{} {}".format(a, b))\n', "a", "b"),
        ("C1117", "copy", "f(loss=image.loss, image=image)\n", "image", "label"),  # two uses
        ("C1117", "same", "h = scale * ratio\n", "", ""),
    ],
)
def test_there_is_none_where_the_line_does_not_say_what_to_change(code, variant, source, was, better, tmp_path) -> None:
    assert patched(code, variant, source, was, better, tmp_path) is None


def test_the_name_of_a_keyword_is_no_use_of_a_name(tmp_path) -> None:
    patch = patched("C1117", "copy", "f(image=weights, other=image)\n", "image", "label", tmp_path)
    assert patch.after.decode() == "f(image=weights, other=label)\n"
