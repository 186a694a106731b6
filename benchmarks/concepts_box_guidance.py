"""What do boxes add to concept maps? Trainings with and without box guidance, paired by seed, on real radiographs.

    python benchmarks/concepts_box_guidance.py --set tbx11k --set covid --write

Both arms see the same patients, start from the same weights and draw the same batches and augmentations. The weights of
the last epoch are scored, so no patient that is scored chose anything: validation and held-out patients together.
Writes ``benchmarks/results/concepts.md``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from traindx.recipes.concepts.boxes import Boxes
from traindx.recipes.concepts.data import Dataset, EvalBatches
from traindx.recipes.concepts.loss import pooled
from traindx.recipes.concepts.metrics import (
    auroc,
    average_precision,
    chance,
    mean_over,
    overlap,
    pointing,
)
from traindx.recipes.concepts.radiographs import Radiographs, split_patients
from traindx.recipes.concepts.settings import Settings, from_preset
from traindx.recipes.concepts.sources import load
from traindx.recipes.concepts.train import fit, prepare
from traindx.recipes.kit.estimate import Estimate, by_patient

RESULTS = Path(__file__).parent / "results" / "concepts.md"
Index = NDArray[np.intp]
Statistic = Callable[[Index], float]


@dataclass
class Scored:
    """One training, scored on patients that it never saw."""

    scores: NDArray[np.float32]
    hits: NDArray[np.floating]
    overlaps: NDArray[np.floating]
    seconds: float  # of processor time: machines are shared


def train(settings: Settings, data: Radiographs, kept: Path | None) -> tuple[Scored, Radiographs, NDArray[np.float32]]:
    """One training and its scores; where they are kept already under the same settings, they are read."""
    if kept is not None and kept.exists():
        stored = np.load(kept, allow_pickle=False)
        if str(stored["settings"]) == settings.model_dump_json():
            split = split_patients(data, val=settings.val, test=settings.test, seed=settings.split_seed)
            found = Scored(stored["scores"], stored["hits"], stored["overlaps"], float(stored["seconds"]))
            return found, data.only((*split.val, *split.test)), stored["where"]
    with tempfile.TemporaryDirectory() as folder:
        run = prepare(settings, Path(folder), data)
        begun = time.process_time()
        fit(run)
        took = time.process_time() - begun
        last = torch.load(Path(folder) / "concepts" / "last.ckpt", map_location="cpu", weights_only=True)
        run.module.load_state_dict(last["state_dict"])
    split = run.data.split
    unseen = data.only((*split.val, *split.test))
    architecture = settings.architecture
    dataset = Dataset(unseen, size=architecture.size, map_size=architecture.map_size)
    run.module.eval()
    with torch.no_grad():
        maps = torch.cat([run.module.network.maps(batch["image"]) for batch in EvalBatches(dataset)])
    found = Scored(
        pooled(maps, architecture.pooling).numpy(),
        pointing(maps.numpy(), unseen.boxes),
        overlap(maps.numpy(), unseen.boxes),
        took,
    )
    dataset = run.data.train_set
    where = np.mean([dataset.batch([index])["masks"][0].numpy() for index in range(len(dataset))], axis=0)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            kept,
            scores=found.scores,
            hits=found.hits,
            overlaps=found.overlaps,
            seconds=found.seconds,
            where=where,
            settings=settings.model_dump_json(),
        )
    return found, unseen, where


def mean_of(values: NDArray[np.floating], index: Index) -> float:
    chosen = values[index]
    return float(np.nanmean(chosen)) if not np.isnan(chosen).all() else float("nan")


def statistic(name: str, runs: list[Scored], labels: NDArray[np.float32]) -> Statistic:
    """A figure of an arm, mean over its seeds, for a choice of images."""

    def of(index: Index) -> float:
        values = []
        for run in runs:
            if name == "mAP":
                values.append(mean_over(average_precision, run.scores[index], labels[index]))
            elif name == "AUROC":
                values.append(mean_over(auroc, run.scores[index], labels[index]))
            else:
                values.append(mean_of(run.hits if name == "pointing" else run.overlaps, index))
        return float(np.mean(values))

    return of


def compare(name: str, seeds: list[int], draws: int, keep: Path | None = None) -> str:
    data = load(name)
    arms: dict[str, list[Scored]] = {"without boxes": [], "with boxes": []}
    for seed in seeds:
        for arm, weight in (("without boxes", 0.0), ("with boxes", 1.0)):
            stage = {"concepts": from_preset("standard").stages["concepts"]}
            settings = from_preset("standard", source=name, seed=seed, box_weight=weight, stages=stage)
            kept = keep / f"{name}-{arm.split()[0]}-{seed}.npz" if keep is not None else None
            scored, unseen, where = train(settings, data, kept)
            arms[arm].append(scored)
            print(
                name,
                arm,
                "seed",
                seed,
                f"{scored.seconds:.0f} s",
                f"pointing {np.nanmean(scored.hits):.3f}",
                flush=True,
            )
    labels, patients = unseen.labels, unseen.patients
    lines = [
        f"## {name}",
        "",
        f"{len(data) - len(unseen)} training images, {len(unseen)} scored ones of {len(set(patients))} patients; "
        f"concepts: {', '.join(data.concepts)}; {len(seeds)} seeds; {settings.stages['concepts'].epochs} epochs, "
        f"{np.mean([run.seconds for runs in arms.values() for run in runs]):.0f} s of processor time a training.",
        "",
        "| figure | without boxes | with boxes | difference | by seed |",
        "|---|---|---|---|---|",
    ]
    for figure in ("mAP", "AUROC", "pointing", "IoU"):
        of = {arm: statistic(figure, runs, labels) for arm, runs in arms.items()}
        cells: list[Estimate] = [by_patient(of[arm], patients, resamples=draws) for arm in arms]
        cells.append(
            by_patient(lambda i, of=of: of["with boxes"](i) - of["without boxes"](i), patients, resamples=draws)
        )
        everyone = np.arange(len(patients))
        each = [
            statistic(figure, [arms["with boxes"][n]], labels)(everyone)
            - statistic(figure, [arms["without boxes"][n]], labels)(everyone)
            for n in range(len(seeds))
        ]
        shown = ", ".join(f"{value:+.3f}" for value in each)
        lines.append(f"| {figure} | {cells[0]} | {cells[1]} | {cells[2]} | {shown} |")
    lines += ["", *baselines(arms["with boxes"], labels, unseen.boxes, where, patients, draws)]
    return "\n".join(lines)


def baselines(
    guided: list[Scored],
    labels: NDArray[np.float32],
    boxes: tuple[Boxes, ...],
    where: NDArray[np.float32],
    patients: tuple[str, ...],
    draws: int,
) -> list[str]:
    prior = [float(np.nanmean(labels[:, k])) for k in range(labels.shape[1]) if len(np.unique(labels[:, k])) > 1]
    blind = chance(boxes, labels.shape[1])
    usual = pointing(np.repeat(where[None], len(boxes), axis=0), boxes)
    hit = statistic("pointing", guided, labels)
    ratio = by_patient(lambda i: hit(i) / mean_of(blind, i), patients, resamples=draws)
    gain = by_patient(lambda i: hit(i) - mean_of(usual, i), patients, resamples=draws)
    return [
        f"Baselines: mAP of a blind guess {np.mean(prior):.3f} (the prevalences); pointing of a blind finger "
        f"{np.nanmean(blind):.3f} (the boxes' area); pointing always at the place where training boxes are most "
        f"frequent {np.nanmean(usual):.3f}.",
        "",
        f"With boxes, pointing is {ratio} times the chance of the boxes' area, and {gain} above always pointing at the "
        "most frequent place.",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", choices=("tbx11k", "covid", "phantom"), dest="sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--keep", type=Path, help="keep the scores of every training here, and read those that are")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    sets = given.sets or ["tbx11k"]
    command = "python benchmarks/concepts_box_guidance.py " + " ".join(f"--set {name}" for name in sets)
    parts = ["# Concepts with and without boxes", "", f"`{command} --write`", ""]
    parts.append(
        "Intervals: 95 %, bootstrap over patients of the mean over seeds; differences are paired by patient and seed."
    )
    for name in sets:
        parts += ["", compare(name, list(range(given.seeds)), given.draws, given.keep)]
        print("\n".join(parts), flush=True)
        if given.write:  # after every set, so that a run that is broken off leaves what it measured
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
