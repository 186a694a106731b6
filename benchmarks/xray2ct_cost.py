"""What a stage costs: seconds and memory of a training step, parameters, and seconds to reconstruct a volume.

    python benchmarks/xray2ct_cost.py --preset volume64 --cores 2 --write

Every row is measured in a process of its own, so that the peak of memory is that row's. Random volumes: cost does not
depend on what is in them. Writes ``benchmarks/results/xray2ct-cost.md``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml

RESULTS = Path(__file__).parent / "results"


def row(method: str, preset: str, number: int, cores: int, precision: str) -> dict[str, Any]:
    """Measure one stage in this process."""
    from traindx.recipes.xray2ct.cascade.cascade import Cascade, Plan
    from traindx.recipes.xray2ct.cascade.denoising import diffusion_loss, draw
    from traindx.recipes.xray2ct.cascade.losses import LossWeights, regression_loss
    from traindx.recipes.xray2ct.cascade.train import PRESETS
    from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry

    torch.set_num_threads(cores)
    files = sorted((PRESETS / method / preset).glob("stage*.yaml"))[:number]
    settings = [yaml.safe_load(path.read_text()) for path in files]
    data = settings[-1]["data"]
    geometry = ConeGeometry((data["size"],) * 3, (384 / data["size"],) * 3, (data["size"],) * 2)
    sizes = tuple(item["model"]["size"] for item in settings)
    plan = Plan(method, sizes, geometry, networks=tuple(item["model"]["network"] for item in settings))  # type: ignore[arg-type]
    cascade = Cascade([plan.stage(index) for index in range(number)])
    stage, batch = cascade.current, data["batch_size"]
    images = {view: torch.randn(batch, 1, data["size"], data["size"]) for view in VIEWS}
    target = torch.rand(batch, 1, *(sizes[-1],) * 3) * 2 - 1
    earlier = torch.zeros(batch, 1, *(sizes[-2],) * 3) if number > 1 else None
    optimizer = torch.optim.AdamW(stage.parameters(), 1e-4)
    weights = LossWeights(**settings[-1]["model"].get("weights", {}))
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            if method == "diffusion":
                terms = diffusion_loss(stage, plan.process, earlier, target, images)  # type: ignore[arg-type]
            else:
                terms = regression_loss(stage, stage(earlier, images), target, images, weights)  # type: ignore[arg-type]
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        times.append(time.perf_counter() - begun)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cascade.eval()
    one = {view: image[:1] for view, image in images.items()}
    begun = time.perf_counter()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        if method == "diffusion":
            draw(cascade, plan.process, one, sampling_steps=4)
        else:
            cascade(one)
    return {
        "method": method,
        "stage": f"{number} ({sizes[-1]}³)",
        "batch": batch,
        "parameters": sum(weight.numel() for weight in stage.parameters()),
        "s a step": min(times[1:]),
        "GB peak": memory,
        "s a volume": time.perf_counter() - begun,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="volume64")
    parser.add_argument("--method", action="append", choices=("regression", "diffusion"))
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--stages", type=int, default=3, help="stages of the preset (default: 3)")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        print(json.dumps(row(given.row[0], given.preset, int(given.row[1]), given.cores, given.precision)))
        return
    rows = []
    for method in given.method or ("regression", "diffusion"):
        for number in range(1, given.stages + 1):
            command = [sys.executable, __file__, "--row", method, str(number), "--preset", given.preset]
            command += ["--cores", str(given.cores), "--precision", given.precision]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(item[name]) for name in names) + " |" for item in rows]
    report = "\n".join(lines)
    print(report)
    if given.write:
        RESULTS.mkdir(exist_ok=True)
        command_line = f"python benchmarks/xray2ct_cost.py --preset {given.preset} --cores {given.cores}"
        command_line += f" --precision {given.precision}"
        file = RESULTS / "xray2ct-cost.md"
        file.write_text(f"`{command_line}`\n\n{report}\n", encoding="utf-8")
        print(f"written to {file}")


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
