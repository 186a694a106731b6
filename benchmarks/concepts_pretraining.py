"""Does an encoder that saw radiographs without labels learn a concept better? With and without, in the same minutes.

    python benchmarks/concepts_pretraining.py --write

The encoder is first trained to tell what two views of one radiograph have in common (VICReg, Bardes et al., ICLR 2022,
equations 1 to 6) on all training radiographs of TBX11K and the COVID-19 collection, labels unused. Then the first stage
of the recipe starts from it (``--weights``). It is compared with the same stage from scratch, for as many epochs, and
for so many more that both took the same processor time. No scored patient is in any training. Writes
``benchmarks/results/concepts-pretraining.md``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from concepts_sources import SETS, Floats, figure, own_part, read
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.recipes.concepts.data import Dataset, EvalBatches
from traindx.recipes.concepts.loss import pooled
from traindx.recipes.concepts.metrics import pointing
from traindx.recipes.concepts.model import Encoder
from traindx.recipes.concepts.pipeline import Augmentation
from traindx.recipes.concepts.radiographs import Radiographs
from traindx.recipes.concepts.settings import Settings, from_preset
from traindx.recipes.concepts.train import fit, prepare
from traindx.recipes.kit.estimate import by_patient
from traindx.recipes.kit.schedule import warmup_cosine
from traindx.recipes.kit.split import Split

RESULTS = Path(__file__).parent / "results" / "concepts-pretraining.md"
VIEWS = Augmentation(rotation=10, scale=0.25, shift=0.1, contrast=0.3, gamma=0.4)
EPOCHS, BATCH, RATE, WIDE = 10, 32, 2e-3, 256
ARMS = ("pretrained", "scratch, the same epochs", "scratch, the same time")
COLUMN = {"tbx11k": "ActiveTuberculosis", "covid": "COVID-19"}


def vicreg(a: Tensor, b: Tensor) -> Tensor:
    """Invariance, variance and covariance of the projections of two views ``(B, D)``, weights 25, 25 and 1."""
    loss = 25 * F.mse_loss(a, b)
    for one in (a, b):
        loss = loss + 25 * F.relu(1 - (one.var(dim=0) + 1e-4).sqrt()).mean() / 2
        covariance = torch.cov(one.T)
        loss = loss + (covariance - torch.diag(covariance.diag())).square().sum() / one.shape[1]
    return loss


def pretrain(data: Radiographs, settings: Settings, seed: int, path: Path) -> float:
    """Train an encoder without labels and store its weights; returns processor seconds."""
    if path.exists():
        return float(torch.load(path, weights_only=True)["seconds"])
    architecture = settings.architecture
    images = Dataset(data, size=architecture.size, map_size=architecture.map_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(architecture.widths, architecture.strides, architecture.channels)
        head = nn.Sequential(nn.Linear(encoder.channels, WIDE), nn.BatchNorm1d(WIDE), nn.ReLU(), nn.Linear(WIDE, WIDE))
    encoder.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], RATE, weight_decay=0.01)
    total = EPOCHS * (len(images) // BATCH)
    begun, step = time.process_time(), 0
    for epoch in range(EPOCHS):
        order = np.random.default_rng([seed, epoch]).permutation(len(images))
        for number in range(len(images) // BATCH):
            chosen = order[number * BATCH : (number + 1) * BATCH].tolist()
            a, b = (
                head(encoder(images.batch(chosen, VIEWS, seed, epoch, view)["image"]).mean(dim=(2, 3)))
                for view in (0, 1)
            )
            optimizer.param_groups[0]["lr"] = RATE * warmup_cosine(step, total, 20, 0.01)
            loss = vicreg(a, b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        print(f"seed {seed}, epoch {epoch} without labels: {float(loss.detach()):.2f}", flush=True)
    seconds = time.process_time() - begun
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": encoder.state_dict(), "seconds": seconds}, path)
    return seconds


def stage(
    name: str, data: Radiographs, split: Split, seed: int, kept: Path, epochs: int, weights: str
) -> dict[str, Any]:
    """Logits and pointing on unseen images after one first stage, and its processor seconds."""
    if not kept.exists():
        plan = from_preset("standard").stages["concepts"].model_copy(update={"epochs": epochs})
        settings = from_preset("standard", seed=seed, stages={"concepts": plan}, keep="last", weights=weights)
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            run = prepare(settings, Path(folder), data, split)
            fit(run)
        seconds = time.process_time() - begun
        unseen = data.only((*split.val, *split.test))
        architecture = settings.architecture
        images = Dataset(unseen, size=architecture.size, map_size=architecture.map_size)
        network = run.module.eval().network.maps
        with torch.no_grad():
            maps = torch.cat([network(batch["image"]) for batch in EvalBatches(images)])
        np.savez(
            kept,
            logits=pooled(maps, architecture.pooling).numpy(),
            hits=pointing(maps.numpy(), unseen.boxes),
            seconds=seconds,
            epochs=epochs,
        )
        print(f"{name} seed {seed} {kept.stem}: {epochs} epochs, {seconds:.0f} s", flush=True)
    return dict(np.load(kept))


def table(name: str, data: Radiographs, split: Split, runs: dict[str, list[dict[str, Any]]], draws: int) -> list[str]:
    unseen = data.only((*split.val, *split.test))
    column = unseen.concepts.index(COLUMN[name])
    has: NDArray[np.bool_] = unseen.labels[:, column] == 1
    everyone = np.ones(len(unseen), bool)

    def auroc_of(arm: str) -> Any:
        said: list[tuple[Floats, int]] = [(one["logits"], column) for one in runs[arm]]
        return figure(said, has, everyone)

    def pointing_of(arm: str) -> Any:
        return lambda i: float(np.mean([np.nanmean(one["hits"][i]) for one in runs[arm]]))

    lines = [
        f"## {name}: {COLUMN[name]}",
        "",
        f"{len(split.train)} training images, {len(unseen)} scored, of which {int(has.sum())} have it. "
        f"Seeds: {len(runs[ARMS[0]])}.",
        "",
        "| arm | epochs | processor seconds | AUROC | pretrained minus it | pointing | pretrained minus it |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, each in runs.items():
        cells = [arm, f"{int(each[0]['epochs'])}", f"{np.mean([one['seconds'] for one in each]):.0f}"]
        for of in (auroc_of, pointing_of):
            mine, first = of(arm), of(ARMS[0])
            cells.append(by_patient(mine, unseen.patients, resamples=draws).text(3))
            difference = by_patient(lambda i, a=first, b=mine: a(i) - b(i), unseen.patients, resamples=draws)
            cells.append("" if arm == ARMS[0] else difference.text(3, "+"))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--keep", type=Path, default=Path("runs/concepts-pretraining"), help="what each training said")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    joint, _, split = read()
    settings = from_preset("standard")
    parts = {name: own_part(joint, split, name) for name in reversed(SETS)}
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {name: {arm: [] for arm in ARMS} for name in SETS}
    epochs = settings.stages["concepts"].epochs
    seen = joint.only(split.train)
    for seed in range(given.seeds):
        weights = given.keep / f"encoder-{seed}.pt"
        before = pretrain(seen, settings, seed, weights)
        print(f"seed {seed}: {before:.0f} s without labels", flush=True)
        for name, (data, own) in parts.items():
            kept, mine = f"{given.keep}/{name}-{seed}-", runs[name]
            with_it = stage(name, data, own, seed, Path(f"{kept}pretrained.npz"), epochs, str(weights))
            with_it["seconds"] = with_it["seconds"] + before
            mine[ARMS[0]].append(with_it)
            mine[ARMS[1]].append(stage(name, data, own, seed, Path(f"{kept}scratch.npz"), epochs, ""))
            report(len(seen), before, parts, runs, given.draws, given.write)
            longer = round(epochs * float(with_it["seconds"]) / float(mine[ARMS[1]][-1]["seconds"]))
            mine[ARMS[2]].append(stage(name, data, own, seed, Path(f"{kept}longer.npz"), longer, ""))
            report(len(seen), before, parts, runs, given.draws, given.write)


def report(
    seen: int,
    before: float,
    parts: dict[str, tuple[Radiographs, Split]],
    runs: dict[str, dict[str, list[dict[str, Any]]]],
    draws: int,
    really: bool,
) -> None:
    """Print and write what there is; seeds that not all arms have are left out."""
    lines = [
        "# A first stage from an encoder that was trained without labels",
        "",
        "`python benchmarks/concepts_pretraining.py --write`",
        "",
        f"VICReg on the {seen} training radiographs of both collections, {EPOCHS} epochs ({before:.0f} s of processor "
        "time, counted into the arm's), then the first stage of the preset `standard`; weights of the last epoch. "
        "Intervals: 95 %, bootstrap over patients of the mean over seeds; differences are paired by patient and seed.",
        "",
    ]
    for name, (data, own) in parts.items():
        there = {arm: each for arm, each in runs[name].items() if each}
        count = min(map(len, there.values()), default=0)
        if count:
            lines += table(name, data, own, {arm: each[:count] for arm, each in there.items()}, draws)
    print("\n".join(lines), flush=True)
    if really:  # after every arm, so that a run that is broken off leaves what it measured
        RESULTS.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
