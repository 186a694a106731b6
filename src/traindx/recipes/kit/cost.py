"""``traindx train RECIPE --plan``: does a preset fit a graphics processor, and how long would an epoch take there?

Memory is counted (:mod:`traindx.recipes.kit.footprint`); the time is a prediction and no measurement. Each operation
takes as long as its arithmetic or its traffic of memory would at a stated share of what the data sheet promises,
whichever is longer, and at least as long as it takes to launch (the roofline of Williams et al., CACM 52(4):65, 2009).
Reading data, validation and the exchange of gradients between processes are left out; so is what compiling gains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traindx.errors import UsageError
from traindx.recipes.kit.footprint import Footprint, Workload, footprint

GIB = 2**30


@dataclass(frozen=True)
class Device:
    """A graphics processor by its data sheet.

    Attributes:
        name: As its maker calls it.
        memory: GiB.
        half: Floating-point operations a second in bfloat16 with sums in 32 bits, dense.
        single: The same in 32 bits.
        bandwidth: Bytes a second of its memory.
    """

    name: str
    memory: float
    half: float
    single: float
    bandwidth: float


DEVICES: Mapping[str, Device] = {
    # NVIDIA Ada GPU architecture, V2.02, appendix A
    "gpu24": Device("GeForce RTX 4090, 24 GB", 24, 165.2e12, 82.6e12, 1008e9),
    # NVIDIA A100 data sheet, 80 GB SXM; 19.5 without TF32
    "gpu80": Device("A100 SXM, 80 GB", 80, 312e12, 19.5e12, 2039e9),
}
UTILISATION = 0.5
"""Share of the data sheet's rates that every operation is taken to reach. An assumption: nothing was measured."""
LAUNCH = 10e-6
"""Seconds that an operation takes at least in eager mode. An assumption as well."""
CONTEXT = 0.8
"""GiB that are left for the context of the device and its libraries."""
SPARE = 1.1
"""Memory that is asked for over memory that is alive: workspaces of convolutions, blocks that are rounded up."""


def seconds(found: Footprint, device: Device, utilisation: float = UTILISATION) -> float:
    """Predicted seconds of a step; see the module."""
    total = 0.0
    for one in found.operations:
        arithmetic = one.flops / (device.half if one.half else device.single)
        total += max(arithmetic / utilisation, one.moved / (device.bandwidth * utilisation), LAUNCH)
    return total


def needed(found: Footprint) -> float:
    """GiB that a device should have for a step."""
    return found.peak * SPARE / GIB + CONTEXT


def show(workloads: Sequence[Workload], preset: str) -> int:
    """Print what the workloads of a preset take, on both devices or on that which the preset is named after."""
    devices = [DEVICES[preset]] if preset in DEVICES else list(DEVICES.values())
    print("\n".join(table(workloads, devices)), flush=True)
    return 0


HEADER = (
    "| stage | input | precision | parameters | GiB: weights, gradients, optimiser | activations | peak | asked for "
    "| TFLOP a step | device | fits | predicted s a step | min an epoch |"
)


def table(workloads: Sequence[Workload], devices: Sequence[Device]) -> list[str]:
    """Rows of a Markdown table, and what its figures are."""
    lines = [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
    for workload in workloads:
        found = footprint(workload)
        for device in devices:
            took = seconds(found, device)
            cells = [
                workload.name,
                workload.shape,
                workload.precision,
                f"{found.trained / 1e6:.1f} M",
                ", ".join(f"{size / GIB:.2f}" for size in (found.weights, found.gradients, found.optimizer)),
                f"{found.activations / GIB:.1f} GiB",
                f"{found.peak / GIB:.1f} GiB",
                f"{needed(found):.1f} GiB",
                f"{found.flops / 1e12:.2f}",
                device.name,
                "yes" if needed(found) <= device.memory else "no",
                f"{took:.2g}",
                f"{math.ceil(took * workload.steps / 60)} ({workload.steps} steps)",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"Memory is counted without a device: the peak of what is alive in a step. Asked for: {SPARE:g} times the peak "
        f"and {CONTEXT:g} GiB. Times are predictions and nothing was measured: every operation at {UTILISATION:.0%} of "
        f"the data sheet's arithmetic or bandwidth, at least {LAUNCH * 1e6:.0f} µs, without data, validation and "
        "exchange between processes, not compiled.",
    ]
    return lines


def settings(config: Path, rest: Sequence[str], parts: Sequence[str] = ("data", "model", "trainer")) -> dict[str, Any]:
    """The values of a preset with those of the command line, ``--part.name value`` or ``--part.name=value``.

    Raises:
        UsageError: Something else is on the command line.
    """
    import yaml

    values: dict[str, Any] = {part: {} for part in parts}
    values |= yaml.safe_load(config.read_text(encoding="utf-8"))
    items = list(rest)
    while items:
        name, equals, text = items.pop(0).partition("=")
        if not name.startswith("--") or name[2:].partition(".")[0] not in values or "." not in name:
            raise UsageError(f"--plan does not know {name}", expected="--data.NAME, --model.NAME or --trainer.NAME")
        if not equals:
            if not items:
                raise UsageError(f"{name} has no value", expected=f"{name} VALUE")
            text = items.pop(0)
        *path, last = name[2:].split(".")
        place = values
        for key in path:
            place = place.setdefault(key, {})
        place[last] = yaml.safe_load(text)
    return values


def precision(values: Mapping[str, Any]) -> str:
    """The precision that a preset gives the trainer."""
    return str(values["trainer"].get("precision", "32-true"))
