"""D138: a figure of two images of bytes whose difference wraps round, and integers that take in fractions."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from traindx.evidence import Evidence
from traindx.watch.probes.functions import integers
from traindx.watch.probes.recorded import RecordedCall
from watch.inside import found


def psnr(one: Any, other: Any) -> float:
    return float(10 * np.log10(255**2 / np.mean((one - other) ** 2)))


def psnr_of_floats(one: Any, other: Any) -> float:
    one, other = one.astype(float), other.astype(float)
    return float(10 * np.log10(255**2 / np.mean((one - other) ** 2)))


def overlap(one: Any, other: Any) -> float:
    both = one * other
    return float(both.sum())


@pytest.mark.parametrize(("function", "values", "count"), [(psnr, 256, 1), (psnr_of_floats, 256, 0), (overlap, 2, 0)])
def test_difference_of_bytes(function: Callable[..., float], values: int, count: int) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, values, (16, 16)).astype(np.uint8) for _ in range(2)]
    call = RecordedCall(function, {"one": images[0], "other": images[1]})  # type: ignore[arg-type]
    evidence = Evidence()
    for record in integers.tried(torch, [call]):
        evidence.add(record)
    assert len(list(evidence)) == 1
    findings = found("D138", evidence)
    lines = Path(__file__).read_text().splitlines()
    assert ["one - other" in lines[one.location.line - 1] for one in findings if one.location] == [True] * count


def in_likeness(volume: Any) -> Any:
    scaled = np.zeros_like(volume)
    scaled[...] = (np.clip(volume, 20, 900) - 20) / 880
    return scaled


def in_floats(volume: Any) -> Any:
    scaled = np.zeros_like(volume, dtype=np.float32)
    scaled[...] = (volume - volume.min()) / np.ptp(volume)
    return scaled


def in_bytes(volume: Any) -> Any:
    scaled = np.empty_like(volume)
    scaled[...] = 255 * (volume - volume.min()) / np.ptp(volume)
    return scaled


def in_classes(volume: Any) -> Any:
    mask = np.zeros_like(volume)
    mask[volume > 500] = 1
    mask[:4] = (volume[:4] > 700).astype(np.float32)
    return mask


def in_a_tensor(volume: Any) -> Any:
    scaled = torch.zeros_like(volume)
    scaled[:] = volume / 1000
    return scaled


@pytest.mark.parametrize(
    ("function", "count"), [(in_likeness, 1), (in_a_tensor, 1), (in_floats, 0), (in_bytes, 0), (in_classes, 0)]
)
@pytest.mark.parametrize("kind", [np.int16, np.int64])
def test_fractions_in_an_array_of_integers(function: Callable[[Any], Any], count: int, kind: Any) -> None:
    volume: Any = np.random.default_rng(0).integers(0, 1000, (16, 16)).astype(kind)
    call = RecordedCall(function, {"volume": torch.from_numpy(volume) if function is in_a_tensor else volume})  # type: ignore[arg-type]
    evidence = Evidence()
    for record in integers.tried(torch, [call]):
        evidence.add(record)
    findings = found("D138", evidence)
    lines = Path(__file__).read_text().splitlines()
    assert ["scaled[" in lines[one.location.line - 1] for one in findings if one.location] == [True] * count


def test_which_functions_are_tried() -> None:
    definitions = {
        node.name: node for node in ast.parse(Path(__file__).read_text()).body if isinstance(node, ast.FunctionDef)
    }
    assert {name for name, node in definitions.items() if integers.relevant(node)} >= {
        "psnr",
        "in_likeness",
        "in_bytes",
    }
    assert not integers.relevant(definitions["test_which_functions_are_tried"])
