"""What each fix of the fusion's post-mortem is worth, on real patients: one arm after the other, paired seeds.

    python benchmarks/fusion_ladder.py --seeds 3 --steps 250

as was -> full-resolution skip -> true DDIM -> spatial conditioning; besides, the two documented fixes: the scale of CT
and the clamp. Every arm is the healthy recipe with faults of the catalogue applied from outside, scored on one fixed
display range. Arms are stored as they end, and an interrupted run goes on. Needs ``TRAINDX_DATA``. Writes
``benchmarks/results/fusion-ladder.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from traindx.case import Case
from traindx.faults import registry
from traindx.recipes.fusion import metrics
from traindx.recipes.fusion.case import changed, make_case, system_of
from traindx.recipes.fusion.normalisation import to_display
from traindx.recipes.fusion.roi import region_ssim
from traindx.recipes.fusion.scores import psnr

RESULTS = Path(__file__).parent / "results"

ARMS: Mapping[str, tuple[str, ...]] = {
    "as was": ("scale-mismatch", "pooled-condition-half-resolution", "strided-sampler"),
    "as was + CT scale (documented fix)": ("pooled-condition-half-resolution", "strided-sampler"),
    "+ full-resolution skip": ("scale-mismatch", "pooled-condition", "strided-sampler"),
    "+ true DDIM": ("scale-mismatch", "pooled-condition"),
    "+ spatial conditioning": ("scale-mismatch",),
    "+ CT scale = the recipe": (),
}
FIGURES = ("v-loss", "brain_ssim", "bone_ssim", "bone_psnr", "Qabf")


def build(names: tuple[str, ...], steps: int) -> Case:
    case = make_case(source="sts", train=31, val=10, steps=steps)
    for name in names:
        case = registry()[name].apply(case)
    return case


def trained(case: Case, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = case.model()
    assert case.optimizer is not None
    optimizer = case.optimizer(model.parameters())
    done = 0
    while done < case.steps:
        for batch in case.batches():
            optimizer.zero_grad()
            torch.autograd.backward(torch.stack(list(case.loss_terms(model, batch).values())).sum())
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            done += 1
            if done == case.steps:
                break
    return model.eval()


@torch.no_grad()
def measured(case: Case, model: nn.Module, seed: int) -> dict[str, float]:
    """Figures over validation patients, and the v-loss over all noise levels alike."""
    torch.manual_seed(seed)
    system = system_of(case)
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    for batch in case.batches("val"):
        for t in range(25, 1000, 50):
            x0, step = batch["fused"], torch.full((len(batch["fused"]),), t)
            noise = torch.randn_like(x0)
            output = system.denoise(model, system.process.noised(x0, noise, step), step, batch)
            found["v-loss"].append(float((output - system.process.target(x0, noise, step)).square().mean()))
        fused = to_display(case.prediction(model, batch))
        for number, image in enumerate(fused):
            parts = {name: batch[name][number][None] for name in ("ct_display", "mr_display", "soft", "bone")}
            ct, mr, soft, bone = parts.values()
            found["brain_ssim"].append(float(region_ssim(image[None], mr, soft)))
            if bool(bone.any()):
                found["bone_ssim"].append(float(region_ssim(image[None], ct, bone)))
                found["bone_psnr"].append(psnr(image[None], ct, bone))
            found["Qabf"].append(metrics.edge_preservation(ct, mr, image[None]))
    return {name: statistics.fmean(values) for name, values in found.items()}


def clamp_trial(seed: int) -> dict[str, Any]:
    """Train with and without the clamp: are the weights one bit apart?"""
    before = ARMS["as was"][:2]
    both = (before, (*before, "output-clamp"))
    weights = [trained(build(names, steps=20), seed).state_dict() for names in both]
    same = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    return {"steps": 20, "identical": same}


def clamp_effect(model: nn.Module, case: Case, seed: int) -> float:
    """Change of the recipe's brain SSIM by the clamp, with the same weights and noise."""
    clamped = registry()["output-clamp"].apply(changed(case))
    return measured(clamped, model, seed)["brain_ssim"] - measured(case, model, seed)["brain_ssim"]


def interval(values: list[float]) -> str:
    from scipy.stats import t

    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.3f}"
    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.3f} ± {half:.3f}"


def table(done: Mapping[str, Any], steps: int) -> str:
    lines = ["| arm | seeds | " + " | ".join(FIGURES) + " |", "|---" * (len(FIGURES) + 2) + "|"]
    for arm in ARMS:
        runs = [value for key, value in done.items() if key.startswith(f"{arm}@")]
        if runs:
            cells = [interval([run[name] for run in runs]) for name in FIGURES]
            lines.append(f"| {arm} | {len(runs)} | " + " | ".join(cells) + " |")
    text = (
        f"`python benchmarks/fusion_ladder.py --steps {steps}`: 64 x 64 windows, {steps} optimiser steps, validation "
        "patients, one fixed display range; mean and 95 % t-interval over seeds.\n\n" + "\n".join(lines)
    )
    pairs = []
    arms = list(ARMS)
    for before, after in [(arms[0], arms[1]), *zip([arms[0], *arms[2:-1]], arms[2:], strict=True)]:
        seeds = [key.rsplit("@", 1)[1] for key in done if key.startswith(f"{before}@")]
        both = [seed for seed in seeds if f"{after}@{seed}" in done]
        if both:
            cells = []
            for name in FIGURES:
                cells.append(interval([done[f"{after}@{s}"][name] - done[f"{before}@{s}"][name] for s in both]))
            pairs.append(f"| {before} → {after} | " + " | ".join(cells) + " |")
    text += "\n\nWorth of each step, paired by seed:\n\n| step | " + " | ".join(FIGURES) + " |\n"
    text += "|---" * (len(FIGURES) + 1) + "|\n" + "\n".join(pairs) + "\n"
    if "clamp" in done:
        verdict = "bit-identical: without effect" if done["clamp"]["identical"] else "NOT identical"
        text += f"\nThe clamp: weights after {done['clamp']['steps']} steps with and without it are {verdict}"
        effect = done.get("clamp effect")
        text += f"; it changes brain SSIM of the recipe's samples by {effect:+.4f}.\n" if effect is not None else ".\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--store", type=Path, default=Path("runs/fusion-ladder.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.store.parent.mkdir(parents=True, exist_ok=True)
    done: dict[str, Any] = json.loads(given.store.read_text()) if given.store.exists() else {}

    def keep(key: str, value: Any) -> None:
        done[key] = value
        given.store.write_text(json.dumps(done, indent=1))
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "fusion-ladder.md").write_text(table(done, given.steps), encoding="utf-8")

    for seed in range(given.seeds):
        for arm, names in ARMS.items():
            if f"{arm}@{seed}" in done:
                continue
            begun = time.perf_counter()
            case = build(names, given.steps)
            model = trained(case, seed)
            keep(f"{arm}@{seed}", measured(case, model, seed))
            print(arm, seed, done[f"{arm}@{seed}"], f"{time.perf_counter() - begun:.0f} s", flush=True)
            if not names and "clamp effect" not in done:
                keep("clamp effect", clamp_effect(model, replace(case), seed))
        if "clamp" not in done:
            keep("clamp", clamp_trial(seed))
    print(table(done, given.steps))


if __name__ == "__main__":
    main()
