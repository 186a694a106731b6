"""The X-ray to CT recipes beside other networks: same patients, same processor minutes, differences paired.

    TRAINDX_DATA=... python benchmarks/xray2ct_peers.py --minutes 8 --seeds 0 1
    TRAINDX_DATA=... python benchmarks/xray2ct_peers.py --table                 the table of whatever is complete

Trained are the two recipes in stages (``regression``, ``diffusion``), a plain lifting U-Net, the encoder-decoder of
X2CT-GAN without its adversary, and MONAI's diffusion U-Net; see ``benchmarks/peers/xray2ct.py``. All get the same
volumes with the same changes and radiographs rendered anew at every step, AdamW with warm-up and cosine, averaged
weights, and the best of the same number of validations; time is processor time on one thread and includes probing of
the step time and validations. A peer gets what a recipe of its seed took, where that was more than was asked for.
Learning rates of the peers: ``RATES``, not tuned; those of the recipes: their presets.

Seeds are outermost. After every training the figures of every patient go to ``OUT/<method>-seed<n>.json``, so a run
goes on where it was ended, and ``benchmarks/results/xray2ct-peers.md`` is written from what is complete.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xray2ct_openkbp as staged
from numpy.typing import NDArray
from peers.xray2ct import X2CT, ConditionedDiffusion, LiftingUNet, projection_loss
from seeds_and_patients import interval
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.estimate import Score
from traindx.recipes.kit.schedule import WarmupCosine, adamw
from traindx.recipes.xray2ct.assessment import Predict, assess, trivial
from traindx.recipes.xray2ct.cascade import contract
from traindx.recipes.xray2ct.cascade import train as training
from traindx.recipes.xray2ct.cascade.augmentation import Augmentation
from traindx.recipes.xray2ct.cascade.evaluate import predictors
from traindx.recipes.xray2ct.cascade.module import _Decay
from traindx.recipes.xray2ct.cascade.projector import Projector
from traindx.recipes.xray2ct.data import Data, DataOptions, prepare
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.metrics import psnr_hu
from traindx.recipes.xray2ct.radiograph import mu_from_hu, to_network

RESULTS = Path(__file__).parent / "results"
RECIPES = ("regression", "diffusion")
PEERS = ("lifting U-Net", "X2CT without adversary", "MONAI diffusion U-Net")
ONE_VIEW = "regression, frontal only"
ORDER = (RECIPES[0], PEERS[0], RECIPES[1], PEERS[1], PEERS[2], ONE_VIEW)
RATES = {"lifting U-Net": 2e-3, "X2CT without adversary": 1e-3, "MONAI diffusion U-Net": 1e-3}
BATCH = 2  # of the peers: with few steps to be had, small batches
PRESET = {64: "volume64", 32: "quick"}
PROBED_STEPS = 4
SPARED = 0.92  # of the time goes into steps, the rest into validations; as the recipes' benchmark has it
VALIDATIONS = 2  # the rate ends with the time, so earlier weights are hardly ever the best
DECAY = 0.99
SAMPLING_STEPS = 4  # of DDIM, as the recipe has it
SHOWN = ("psnr", "ssim", "mae lung", "mae soft", "mae bone", "energy 0.125-0.25", "energy 0.25-0.5", "energy 0.5-1")


def network_of(name: str, data: Data) -> nn.Module:
    """A fresh peer."""
    if name == "lifting U-Net":
        return LiftingUNet(data.geometry)
    if name == "X2CT without adversary":
        return X2CT(data.geometry)
    return ConditionedDiffusion(data.geometry, Process(sampling_steps=SAMPLING_STEPS))


def loss_of(name: str, network: nn.Module, target: Tensor, radiographs: dict[str, Tensor]) -> Tensor:
    """What each peer minimises, as published."""
    if isinstance(network, ConditionedDiffusion):
        return network.loss(target, radiographs)
    prediction = network(radiographs).float()
    loss = F.mse_loss(prediction, target)
    return loss + projection_loss(prediction, target) if name == "X2CT without adversary" else loss


def train_peer(
    name: str, data: Data, minutes: float, seed: int, out: Path, rate: float | None = None
) -> dict[str, Any]:
    """Train one peer by processor time; its best weights go to ``out``. Returns what was spent."""
    torch.manual_seed(seed)
    begun, end = time.process_time(), time.process_time() + minutes * 60
    network = network_of(name, data)
    average = AveragedModel(network, avg_fn=_Decay(DECAY))
    rate = RATES[name] if rate is None else rate
    optimizer = adamw(network.parameters(), rate)
    augmentation, projector = Augmentation(), Projector(data.geometry, VIEWS)
    batches = iter(())
    steps, total, best, validated = 0, 0, -math.inf, []
    while total == 0 or (steps < total and time.process_time() < end):
        batch = next(batches, None)
        if batch is None:
            batches = iter(data.train_batches())
            batch = next(batches)
        with torch.no_grad():
            hu = augmentation(batch["hu"])
            radiographs = {view: to_network(projector(mu_from_hu(hu), view)) for view in VIEWS}
            target = data.train.window.encode(hu)
        factor = WarmupCosine(max(total, 1)).factor(steps) if total else 1 / 50
        for group in optimizer.param_groups:
            group["lr"] = rate * max(0.01, factor)
        loss = loss_of(name, network, target, radiographs)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        steps += 1
        if total == 0 and steps == 1:
            probed = time.process_time()  # the first step allocates
        if total == 0 and steps == 1 + PROBED_STEPS:
            each = (time.process_time() - probed) / PROBED_STEPS
            total = steps + max(PROBED_STEPS, int((end - time.process_time()) * SPARED / each))
            print(f"{name}: {each:.2f} s a step, so {total} steps", flush=True)
        last = total and (steps == total or time.process_time() >= end)
        if total and (last or steps % max(1, total // VALIDATIONS) == 0):
            figure = validation(average.module, data)
            validated.append((steps, figure))
            print(f"{name} seed {seed} step {steps}: loss {float(loss):.4f}, {figure:.2f} dB", flush=True)
            if figure > best:
                best = figure
                torch.save(average.module.state_dict(), out)
    return {"steps": steps, "cpu": time.process_time() - begun, "rate": rate, "validated": validated}


def validation(network: nn.Module, data: Data) -> float:
    """PSNR of the validation patients; the weights are chosen by it, as the recipes choose theirs."""
    predict = predictor(network, data)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = [psnr_hu(predict(batch), batch["hu"]) * len(batch["hu"]) for batch in data.val_batches()]
    return float(torch.stack(found).sum()) / len(data.val)


def predictor(network: nn.Module, data: Data) -> Predict:
    """Batches to HU."""

    def predict(batch: dict[str, Any]) -> Tensor:
        training_mode = network.training
        with torch.no_grad():
            volume = network.eval()({view: batch[view] for view in VIEWS})
        network.train(training_mode)
        return data.val.window.decode(volume.float().clamp(-1, 1))

    return predict


def train_recipe(
    name: str, data: Data, given: argparse.Namespace, seed: int, out: Path
) -> tuple[dict[str, Any], Predict]:
    """Train a recipe by its own benchmark, all stages; returns what was spent and the predictor of one draw."""
    method = "regression" if name == ONE_VIEW else name
    size = data.geometry.shape[0]
    extra = [f"--data.train={len(data.train)}", f"--data.val={len(data.val)}"]
    extra += ["--model.views=[frontal]"] if name == ONE_VIEW else []
    options = argparse.Namespace(
        method=method,
        preset=PRESET[size],
        minutes=given.minutes,
        cores=1,
        clock="cpu",
        resume=True,
        seed=seed,
        precision="32-true",
        validations=VALIDATIONS,
        out=out,
        extra=extra,
    )
    facts = staged.train(options, out)
    best = training.runs_of(method, options.preset, out)[-1].best  # type: ignore[arg-type]
    cascade, plan = contract.cascade_from(contract.read(best), SAMPLING_STEPS)
    spent = {"steps": [fact["steps"] for fact in facts], "cpu": sum(fact["cpu"] for fact in facts)}
    return spent, list(predictors(cascade, plan).values())[-1]


def run(name: str, data: Data, given: argparse.Namespace, seed: int) -> None:
    """One training and the figures of its patients, unless they are there."""
    stem = f"{name.replace(' ', '-').replace(',', '')}-seed{seed}"
    file = given.out / f"{stem}.json"
    if file.exists():
        return
    predict: Predict
    if name in (*RECIPES, ONE_VIEW):
        spent, predict = train_recipe(name, data, given, seed, given.out / stem)
    else:
        weights = given.out / f"{stem}.pt"
        spent = train_peer(name, data, allowed(given, seed), seed, weights)
        network = network_of(name, data)
        network.load_state_dict(torch.load(weights, weights_only=True))
        predict = predictor(network, data)
    torch.manual_seed(seed)
    scores, _ = assess(data, predict)
    write(file, {"method": name, "seed": seed, "minutes": given.minutes, **spent}, scores, data)
    print(f"{name} seed {seed}: {scores['psnr'].mean:.2f} dB, {spent['cpu'] / 60:.1f} processor minutes", flush=True)


def allowed(given: argparse.Namespace, seed: int) -> float:
    """Processor minutes of a peer: those asked for, or what a recipe of this seed took if that was more.

    The stages of a recipe end with the time, but a last validation and building the next stage come on top.
    """
    runs = complete(given.out)
    taken = [runs[name][seed]["cpu"] / 60 for name in RECIPES if seed in runs.get(name, {})]
    return max([given.minutes, *taken])


def write(file: Path, facts: dict[str, Any], scores: dict[str, Score], data: Data) -> None:
    """The figures of every patient, whole or not at all."""
    values = {figure: score.values for figure, score in scores.items()}
    text = json.dumps({**facts, "size": data.geometry.shape[0], "ids": data.val.patients.ids, "scores": values})
    file.with_suffix(".part").write_text(text, encoding="utf-8")
    file.with_suffix(".part").replace(file)


Runs = dict[str, dict[int, dict[str, Any]]]


def complete(out: Path) -> Runs:
    """What was written, by method and seed."""
    found: Runs = {}
    for path in sorted(out.glob("*.json")):
        read = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault(read["method"], {})[read["seed"]] = read
    return found


def table_of(runs: Runs, method: str, figure: str, seeds: list[int]) -> NDArray[np.float64]:
    """``(seeds, patients)``."""
    return np.array([runs[method][seed]["scores"][figure] for seed in seeds], dtype=float)


def cell(values: NDArray[np.float64], figure: str, sign: str = "") -> str:
    mean, low, high = interval(values)
    digits = f"{sign}.1f" if figure.startswith("mae") else f"{sign}.2f" if figure == "psnr" else f"{sign}.3f"
    return f"{mean:{digits}} [{low:{digits}}, {high:{digits}}]"


def report(runs: Runs, baselines: dict[str, dict[str, Score]]) -> str:
    """The table, and recipe less peer over the seeds that both have."""
    trained = [name for name in (*RECIPES, *PEERS, ONE_VIEW) if name in runs]
    head = "| method | " + " | ".join(SHOWN) + " |\n|" + "---|" * (len(SHOWN) + 1)
    lines = [head]
    for name in trained:
        seeds = sorted(runs[name])
        cells = [cell(table_of(runs, name, figure, seeds), figure) for figure in SHOWN]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name, scores in baselines.items():
        cells = [cell(np.array([scores[figure].values]), figure) for figure in SHOWN]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    differences = []
    for recipe in (name for name in RECIPES if name in runs):
        for other in (name for name in trained if name != recipe and (name not in RECIPES or recipe == RECIPES[1])):
            seeds = sorted(set(runs[recipe]) & set(runs[other]))
            if not seeds:
                continue
            cells = []
            for figure in SHOWN:
                values = [table_of(runs, name, figure, seeds) for name in (recipe, other)]
                cells.append(cell(values[0] - values[1], figure, "+"))
            differences.append(f"| {recipe} - {other} | " + " | ".join(cells) + " |")
    if differences:
        lines += ["", "Differences, the first less the second, paired by patient and seed:", "", head, *differences]
    lines += ["", "| trained | seed | steps | processor minutes |", "|---|---|---|---|"]
    for name in trained:
        for seed, one in sorted(runs[name].items()):
            steps = " + ".join(map(str, one["steps"])) if isinstance(one["steps"], list) else one["steps"]
            lines.append(f"| {name} | {seed} | {steps} | {one['cpu'] / 60:.1f} |")
    return "\n".join(lines)


def pilot(data: Data, given: argparse.Namespace) -> None:
    """Each peer for a short time at several learning rates; what is best goes into ``RATES`` by hand."""
    for name in PEERS:
        for rate in (5e-4, 1e-3, 2e-3):
            spent = train_peer(name, data, given.minutes, 100, given.out / "pilot.pt", rate)
            print(f"{name} at {rate:g}: {max(figure for _, figure in spent['validated']):.2f} dB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="processor minutes of each training (default: 8)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--size", type=int, choices=tuple(PRESET), default=64, help="voxels a side (default: 64)")
    parser.add_argument("--methods", nargs="+", default=list(ORDER))
    parser.add_argument("--out", type=Path, default=Path("runs/xray2ct-peers"))
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--pilot", action="store_true", help="short trainings of the peers at several learning rates")
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    given.out = given.out.absolute()
    given.out.mkdir(parents=True, exist_ok=True)
    data = prepare(DataOptions("openkbp", given.size, 74, 17, batch_size=BATCH))
    if given.pilot:
        pilot(data, given)
        return
    baselines = {name: assess(data, predict)[0] for name, predict in trivial(data).items()}
    for seed in given.seeds:
        for name in () if given.table else given.methods:
            run(name, data, given, seed)
            publish(given, baselines)
    publish(given, baselines)


def publish(given: argparse.Namespace, baselines: dict[str, dict[str, Score]]) -> None:
    """Print and write the table of what is complete."""
    runs = complete(given.out)
    if not runs:
        return
    command = f"python benchmarks/xray2ct_peers.py --size {given.size} --minutes {given.minutes:g}"
    seeds = " ".join(map(str, sorted({seed for one in runs.values() for seed in one})))
    intro = (
        "17 patients of OpenKBP that no training saw (the best validation of a training is kept, by their PSNR), "
        f"{given.size} voxels a side, two rendered radiographs, data range 2000 HU. PSNR over the volume in dB, mean "
        "absolute error in HU by tissue of the truth, energy over that of the truth by spatial frequency (share of "
        "Nyquist). Mean and 95 % interval, bootstrapped over patients and seeds."
    )
    text = f"`{command} --seeds {seeds}`\n\n{intro}\n\n{report(runs, baselines)}\n"
    print(text, flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "xray2ct-peers.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
