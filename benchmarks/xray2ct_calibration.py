"""Do the draws of the diffusion recipe say how wrong it is? Error against spread, and coverage of intervals of 80 %.

    TRAINDX_DATA=... python benchmarks/xray2ct_calibration.py --checkpoint RUN/stage2/best.ckpt --write

Nine draws a patient: were the truth one more draw of the same kind, it would be the least or the greatest of ten in two
of ten voxels, so the interval from the least to the greatest draw has a nominal coverage of exactly 80 %. A setting is
STEPS:ETA: steps of the sampler in every stage, and how much fresh noise each step adds (Song et al. 2021, *DDIM*,
equation 16; 0 is deterministic after the first noise, 1 is ancestral sampling). In place of STEPS there may be the
timesteps themselves, ``1000,500,100,10:0``: equal steps end far from the data (the last of four begins where noise is
1.7 times the signal), and what no step resolves any more is a mean, the same in every draw.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.estimate import mean_of
from traindx.recipes.xray2ct.assessment import TISSUES_HU
from traindx.recipes.xray2ct.cascade import contract
from traindx.recipes.xray2ct.cascade.denoising import draw
from traindx.recipes.xray2ct.data import Data, DataOptions, prepare
from traindx.recipes.xray2ct.metrics import evaluated, psnr_hu

RESULTS = Path(__file__).parent / "results"
DRAWS = 9
NOMINAL = (DRAWS - 1) / (DRAWS + 1)
RANKED = 20_000  # voxels of a patient whose ranks are correlated
BODY_HU = -950.0
SETTINGS = ("4:0", "4:1", "10:0", "10:1")


@dataclass(frozen=True)
class Stochastic(Process):
    """The process with fresh noise in every step of the sampler.

    Attributes:
        eta: Share of the noise of ancestral sampling.
        levels: Timesteps from T down, counted from 1; empty for equal steps.
    """

    eta: float = 0.0
    levels: tuple[int, ...] = ()

    def draw(self, denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor) -> Tensor:
        """DDIM with eta, from pure noise, without gradient."""
        levels = self.levels or tuple(
            self.timesteps * left // self.sampling_steps for left in range(self.sampling_steps, 0, -1)
        )
        x = noise
        with torch.no_grad():
            for level, after in zip(levels, (*levels[1:], 0), strict=True):
                t = torch.full((len(x),), level - 1, device=x.device)
                x0 = self.to_x0(denoise(x, t), x, t)
                if not after:
                    x = x0
                    continue
                a, sigma = self.coefficients(t, x)
                b, tau = self.coefficients(torch.full_like(t, after - 1), x)
                fresh = self.eta * tau / sigma * (1 - (a / b).square()).clamp_min(0).sqrt()
                epsilon = (x - a * x0) / sigma
                x = b * x0 + (tau.square() - fresh.square()).clamp_min(0).sqrt() * epsilon + fresh * torch.randn_like(x)
        return x


def calibration(draws: Tensor, truth: Tensor, seed: int = 0) -> dict[str, float]:
    """Figures of one patient.

    Args:
        draws: HU, shape ``(N, D, H, W)``.
        truth: HU, shape ``(D, H, W)``.
        seed: Of the voxels whose ranks are correlated.

    Returns:
        By name: ``rank`` (Spearman's, of the absolute error of the mean draw and the standard deviation of draws, over
        the body); ``covered <tissue>`` (share of voxels between the least and the greatest draw), ``width <tissue>`` of
        that interval in HU; ``spread / error`` (root mean square of both over the body, 1 where calibrated); ``one``
        and ``mean`` (PSNR in dB of a draw and of the mean of all).
    """
    mean, deviation = draws.mean(dim=0), draws.std(dim=0)
    error = (mean - truth).abs()
    low, high = draws.amin(dim=0), draws.amax(dim=0)
    inside = (truth >= low) & (truth <= high)
    body = truth >= BODY_HU
    chosen = np.random.default_rng(seed).permutation(int(body.sum()))[:RANKED]
    found = {"rank": float(spearmanr(error[body].numpy()[chosen], deviation[body].numpy()[chosen]).statistic)}
    regions = {"body": body, **{name: (truth >= a) & (truth < b) for name, (a, b) in TISSUES_HU.items()}}
    for name, region in regions.items():
        found[f"covered {name}"] = float(inside[region].double().mean()) if region.any() else float("nan")
        found[f"width {name}"] = float((high - low)[region].mean()) if region.any() else float("nan")
    larger = (1 + 1 / len(draws)) ** 0.5  # the mean of a few draws is off by its own spread too
    spread, off = (float(image[body].square().mean().sqrt()) for image in (deviation, error))
    found["spread / error"] = larger * spread / off if off else float("nan")
    for name, volume in (("one", draws[0]), ("mean", mean)):
        found[name] = float(psnr_hu(volume[None, None], truth[None, None]))
    return found


def measured(data: Data, sample: Callable[[dict[str, Any]], Tensor], patients: int) -> list[dict[str, float]]:
    """Figures of every patient; ``sample`` draws a batch of volumes in HU."""
    rows = []
    for batch in data.val_batches():
        if len(rows) >= patients:
            break
        draws = torch.stack([evaluated(sample(batch))[:, 0] for _ in range(DRAWS)], dim=1)
        truth = evaluated(batch["hu"])[:, 0]
        rows += [calibration(one, wanted) for one, wanted in zip(draws, truth, strict=True)]
    return rows[:patients]


def text(found: dict[str, list[dict[str, float]]]) -> str:
    """One row a setting."""
    shown = {
        "rank": 2,
        "spread / error": 2,
        "covered body": 2,
        "covered lung": 2,
        "covered soft": 2,
        "covered bone": 2,
        "width soft": 0,
        "width bone": 0,
        "one": 2,
        "mean": 2,
    }
    lines = ["| steps:eta | " + " | ".join(shown) + " |", "|" + "---|" * (len(shown) + 1)]
    for setting, rows in found.items():
        cells = [mean_of([row[name] for row in rows]).text(digits) for name, digits in shown.items()]
        lines.append(f"| {setting} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="of xray2ct_cascade, trained on OpenKBP")
    parser.add_argument(
        "--settings", nargs="+", default=list(SETTINGS), help="STEPS:ETA or T1,T2,...:ETA, each (default: %(default)s)"
    )
    parser.add_argument("--patients", type=int, default=17)
    parser.add_argument("--out", type=Path, default=Path("runs/xray2ct-calibration"), help="figures of every patient")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/xray2ct-calibration.md")
    given = parser.parse_args()
    cascade, plan = contract.cascade_from(contract.read(given.checkpoint))
    data = prepare(DataOptions("openkbp", plan.geometry.shape[0], 74, 17))
    given.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, float]]] = {}
    for setting in given.settings:
        file = given.out / f"{setting.replace(':', '-')}.json"
        if file.exists():
            found[setting] = json.loads(file.read_text(encoding="utf-8"))
            continue
        steps, eta = setting.split(":")
        levels = tuple(int(one) for one in steps.split(",")) if "," in steps else ()
        known = plan.process
        process = Stochastic(
            known.prediction,
            known.timesteps,
            known.shift,
            known.sampling_steps if levels else int(steps),
            eta=float(eta),
            levels=levels,
        )

        def sample(batch: dict[str, Any], process: Process = process) -> Tensor:
            with torch.no_grad():
                volume = draw(cascade, process, {view: batch[view] for view in plan.views})
            return plan.window.decode(volume.float().clamp(-1, 1))

        torch.manual_seed(0)
        begun = time.process_time()
        found[setting] = measured(data, sample, given.patients)
        file.write_text(json.dumps(found[setting]), encoding="utf-8")
        print(f"{setting}: {(time.process_time() - begun) / 60:.1f} processor minutes", flush=True)
        publish(given, found, plan.geometry.shape[0])
    publish(given, found, plan.geometry.shape[0])


def publish(given: argparse.Namespace, found: dict[str, list[dict[str, float]]], size: int) -> None:
    """Print, and write where that is asked for."""
    patients = min(len(rows) for rows in found.values())
    settings = " ".join(found)
    report = (
        f"`python benchmarks/xray2ct_calibration.py --checkpoint ... --settings {settings}`\n\n{patients} patients of "
        f"OpenKBP, {size} voxels a side, {DRAWS} draws each; nominal coverage {NOMINAL:.0%}, widths in HU, PSNR of one "
        f"draw and of the mean of {DRAWS} in dB. Mean and 95 % bootstrap interval over patients.\n\n{text(found)}\n"
    )
    print(report, flush=True)
    if given.write:
        (RESULTS / "xray2ct-calibration.md").write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
