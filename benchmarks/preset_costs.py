"""What the presets for one GPU take: memory counted, arithmetic counted, the time of an epoch predicted.

    python benchmarks/preset_costs.py --write

No device is used: see ``traindx.recipes.kit.footprint`` and ``traindx.recipes.kit.cost`` for what is counted and what
is assumed. Writes ``benchmarks/results/preset-costs.md``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

from traindx.recipes.concepts import settings as concepts
from traindx.recipes.concepts.workloads import workloads as concepts_workloads
from traindx.recipes.fusion import train as fusion
from traindx.recipes.fusion.workloads import workloads as fusion_workloads
from traindx.recipes.kit import cost
from traindx.recipes.kit.footprint import Workload, footprint
from traindx.recipes.segmentation import train as segmentation
from traindx.recipes.segmentation.workloads import EXAMPLE
from traindx.recipes.segmentation.workloads import workloads as segmentation_workloads
from traindx.recipes.xray2ct.cascade import train as cascade
from traindx.recipes.xray2ct.cascade.workloads import workloads as cascade_workloads

RESULTS = Path(__file__).parent / "results" / "preset-costs.md"
HEAD = (
    "| recipe, stage | input | parameters | activations, GiB | peak, GiB | asked for, GiB | TFLOP a step "
    "| predicted s a step | steps an epoch | predicted min an epoch |"
)


def all_of(preset: str) -> Iterator[tuple[str, Workload]]:
    """Every recipe's workloads under a preset."""
    for name, folder, made in (
        ("fusion", fusion.PRESETS, fusion_workloads),
        ("concepts", concepts.PRESETS, concepts_workloads),
        ("segmentation", segmentation.PRESETS, segmentation_workloads),
    ):
        yield from ((name, one) for one in made(cost.settings(folder / f"{preset}.yaml", [])))
    for name, method in (("xray2ct_regression", "regression"), ("xray2ct_cascade", "diffusion")):
        stages = [cost.settings(run.settings, []) for run in cascade.runs_of(method, preset, cascade.PRESETS)]
        yield from ((f"{name}, stage {one.name}", one) for one in cascade_workloads(method, stages))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    lines = [
        "# What the presets for one GPU take",
        "",
        "`python benchmarks/preset_costs.py --write`",
        "",
        "Memory and arithmetic are counted on tensors without memory. **Times are predictions; nothing was measured on "
        f"a GPU**: every operation at {cost.UTILISATION:.0%} of the data sheet's arithmetic or bandwidth, whichever is "
        f"longer, and at least {cost.LAUNCH * 1e6:.0f} µs; without data, validation and compilation. Asked for: "
        f"{cost.SPARE:g} times the peak and {cost.CONTEXT:g} GiB. Segmentation is planned for {EXAMPLE}; an epoch of "
        "the concepts is one of 10,000 images in the first stage. All in bf16-mixed.",
    ]
    for preset, device in cost.DEVICES.items():
        lines += ["", f"## {preset}: {device.name}", "", HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
        for name, workload in all_of(preset):
            found = footprint(workload)
            took = cost.seconds(found, device)
            cells = [
                name,
                workload.shape,
                f"{found.trained / 1e6:.1f} M",
                *(f"{size / cost.GIB:.1f}" for size in (found.activations, found.peak)),
                f"{cost.needed(found):.1f}",
                f"{found.flops / 1e12:.1f}",
                f"{took:.2g}",
                f"{workload.steps}",
                f"{math.ceil(took * workload.steps / 60)}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
            if given.write:  # after every row, so that a run that is broken off leaves what it counted
                RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
