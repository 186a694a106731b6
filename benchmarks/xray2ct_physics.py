"""The agreement with the radiographs, on against off: paired by seed, effect on PSNR and on the radiographs.

    TRAINDX_DATA=... python benchmarks/xray2ct_physics.py --method regression --seeds 3 --steps 300 --write

Both runs of a pair have the same weights at the start, the same data order and the same draws. One stage is trained,
from the mean volume, at --size voxels a side. Writes ``benchmarks/results/xray2ct-physics-<method>.md``.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from traindx.recipes.kit.schedule import WarmupCosine
from traindx.recipes.xray2ct.assessment import assess
from traindx.recipes.xray2ct.cascade.augmentation import Augmentation
from traindx.recipes.xray2ct.cascade.cascade import Cascade, Plan, prior_of
from traindx.recipes.xray2ct.cascade.denoising import diffusion_loss
from traindx.recipes.xray2ct.cascade.evaluate import reconstruct
from traindx.recipes.xray2ct.cascade.losses import LossWeights, regression_loss
from traindx.recipes.xray2ct.cascade.projector import Projector
from traindx.recipes.xray2ct.cascade.stage import DiffusionStage, RegressionStage
from traindx.recipes.xray2ct.data import Data, DataOptions, prepare
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.module import SeededBatches
from traindx.recipes.xray2ct.radiograph import mu_from_hu, to_network

RESULTS = Path(__file__).parent / "results"
NETWORK = {"patch": 1, "widths": (24, 48, 96), "depth": 1}
FIGURES = ("psnr", "ssim", "radiographs")


def trained(given: argparse.Namespace, data: Data, weight: float, seed: int) -> tuple[Cascade, Plan]:
    plan = Plan(given.method, (given.size,), data.geometry, networks=(NETWORK,))
    torch.manual_seed(seed)
    cascade = Cascade([plan.stage(0, prior_of(data.train.window.encode(data.train.patients.hu), 0, plan.sizes))])
    stage = cascade.current
    optimizer = torch.optim.AdamW(cascade.parameters(), given.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    WarmupCosine(given.steps).attach(optimizer)
    projector, augmentation = Projector(data.geometry, VIEWS), Augmentation()
    for step, batch in enumerate(SeededBatches(data.train, given.batch, seed, given.steps)):
        torch.manual_seed(seed * 1_000_003 + step)
        hu = augmentation(batch["hu"])
        images = {view: to_network(projector(mu_from_hu(hu), view)) for view in VIEWS}
        target = plan.window.encode(hu)
        ramp = weight * min(1.0, (step + 1) / (0.2 * given.steps))
        with torch.autocast("cpu", torch.bfloat16, enabled=given.bf16):
            terms = _terms(stage, plan, target, images, ramp)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(cascade.parameters(), 1.0)
        optimizer.step()
    return cascade.eval(), plan


def _terms(stage: object, plan: Plan, target: Tensor, images: dict[str, Tensor], weight: float) -> dict[str, Tensor]:
    if isinstance(stage, DiffusionStage):
        return diffusion_loss(stage, plan.process, None, target, images, physics_weight=weight)
    assert isinstance(stage, RegressionStage)
    weights = LossWeights(squared=4.0, reprojection=weight)
    return regression_loss(stage, stage(None, images), target, images, weights)


def effect(values: list[float]) -> str:
    """Mean of paired differences with its 95 % t-interval."""
    from scipy.stats import t

    mean, count = sum(values) / len(values), len(values)
    if count < 2:
        return f"{mean:+.4g} (one pair: no interval)"
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)
    half = float(t.ppf(0.975, count - 1)) * spread
    return f"{mean:+.4g} [{mean - half:+.4g}, {mean + half:+.4g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=("regression", "diffusion"), default="regression")
    parser.add_argument("--source", default="openkbp")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--weight", type=float, default=0.1)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.cores)
    data = prepare(DataOptions(given.source, given.size, 74, 17))  # type: ignore[arg-type]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in FIGURES}
    for seed in range(given.seeds):
        pair = []
        for weight in (0.0, given.weight):
            cascade, plan = trained(given, data, weight, seed)
            torch.manual_seed(seed)
            scores, _ = assess(data, lambda batch, of=cascade, by=plan: reconstruct(of, by, batch))
            pair.append(scores)
        for name in FIGURES:
            found[name].append((pair[0][name].mean, pair[1][name].mean))
        print(
            f"seed {seed}: " + ", ".join(f"{n} {v[-1][0]:.4g} -> {v[-1][1]:.4g}" for n, v in found.items()), flush=True
        )
    lines = [f"{'':14}{'off':>10}{'on':>10}   difference, mean [95 % interval], {given.seeds} pairs"]
    for name, pairs in found.items():
        off, on = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
        lines.append(f"{name:14}{off:>10.4g}{on:>10.4g}   {effect([b - a for a, b in pairs])}")
    report = "\n".join(lines)
    print(report)
    if given.write:
        RESULTS.mkdir(exist_ok=True)
        command = (
            f"python benchmarks/xray2ct_physics.py --method {given.method} --size {given.size} --seeds {given.seeds}"
        )
        command += f" --steps {given.steps} --weight {given.weight:g}{' --bf16' if given.bf16 else ''}"
        file = RESULTS / f"xray2ct-physics-{given.method}.md"
        file.write_text(f"`{command}`\n\n```\n{report}\n```\n", encoding="utf-8")
        print(f"written to {file}")


if __name__ == "__main__":
    main()
