"""``traindx evaluate fusion``: every figure of held-out patients, beside trivial and classic baselines."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from traindx.errors import InputError, UsageError
from traindx.recipes.fusion import contract, inference, scores, studies
from traindx.recipes.fusion.baselines import BASELINES
from traindx.recipes.fusion.data import DataOptions, Windows, derive
from traindx.recipes.fusion.normalisation import NORMALISATIONS, to_display
from traindx.recipes.fusion.pairs import evaluate as pairs
from traindx.recipes.fusion.pairs.predict import add_ranges, add_refine
from traindx.recipes.fusion.train import MOVED, PAIRS, ROOT, SOURCES
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.estimate import Table, as_json, write_scores
from traindx.recipes.kit.run_folder import checkpoint_in

Predictor = Callable[[dict[str, Any]], Tensor]

MODEL, STUDENT, OPTIMUM = "model", "student", "target F*"


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "evaluate",
        "fusion",
        "All figures on held-out patients, each with a bootstrap interval over patients, beside the average, the "
        "maximum, a weighted mean, copies of CT and MR, a Laplacian pyramid, and the optimum of the objective itself. "
        "--source pairs measures plain images of two modalities in --root by the field's figures, beside classical "
        "methods, with or without a --checkpoint.",
        "--checkpoint runs/fusion --samples 4",
    )
    group = kit.data(made, (*SOURCES, PAIRS), root=ROOT)
    group.set_defaults(source="auto")
    group.add_argument(
        "--cases", choices=("val", "all"), default="val", help="held-out patients (default), or all, for other data"
    )
    group.add_argument("--slices", type=int, default=5, help="slices a patient (default: 5)")
    add_ranges(group)
    group = kit.model(made, device=False, required=False)
    add_refine(group)
    kit.sampling(group, 10, "images")
    group.add_argument("--guidance", type=float, default=0.0, help="ROI guidance, which made the measured model worse")
    kit.results(made, "scores.json", json="the figures of every patient")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: No model is given.
        InputError: The checkpoint cannot be used, or patients that it was trained on would be evaluated.
    """
    kit.refuse_old(argv, MOVED)
    options = parser().parse_args(list(argv))
    if options.source == PAIRS:
        return pairs.run(options)
    if options.checkpoint is None:
        raise UsageError("no model is given", expected="--checkpoint, or --source pairs to measure classical methods")
    path = checkpoint_in(options.checkpoint)
    checkpoint = contract.read(path)
    model = inference.load(path, sampling_steps=options.sampling_steps, guidance=options.guidance)
    windows = held_out(checkpoint, options.source, options.root, options.slices, options.cases == "all")
    torch.manual_seed(options.seed)
    predictors: dict[str, Predictor] = {MODEL: inference.measured(model, options.samples)}
    if "student" in checkpoint:
        student = inference.load(path, sampler="student")
        predictors[STUDENT] = inference.measured(student)
    begun = time.perf_counter()
    table = measure(windows, {**predictors, **references()}, model.head)
    write_scores(options.out, table)
    if options.json:
        print(as_json(table))
        return 0
    patients = len(next(iter(table[MODEL].values())).values)
    print(text(table))
    print(f"{patients} patients, {len(windows)} slices; mean and 95 % bootstrap interval over patients", end="; ")
    print(f"{time.perf_counter() - begun:.0f} s")
    found = uncertainty(windows, model)
    print(
        f"uncertainty over 4 draws: standard deviation {found['spread']:.4f}, error {found['error']:.4f}, their rank "
        f"correlation over tissue {found['correlation']:.2f}, over patients {found['lowest']:.2f} to "
        f"{found['highest']:.2f}"
    )
    return 0


def held_out(checkpoint: Mapping[str, Any], source: Any, root: Path | None, slices: int, everyone: bool) -> Windows:
    """Validation windows of the patients that a checkpoint has not seen.

    Raises:
        InputError: None is left, or one of them was trained on.
    """
    saved = checkpoint[CONTRACT_KEY]
    trained, held = (set(checkpoint["patients"][side]) for side in ("train", "val"))
    found_source, folder = studies.resolve(source, root)
    names = studies.names(found_source, folder)
    chosen = names if everyone else [name for name in names if name in held]
    if not chosen:
        raise InputError(
            "none of the patients that the checkpoint held out is there",
            expected=", ".join(sorted(held)),
            do="pass --cases all to evaluate other patients",
        )
    both = sorted(set(chosen) & trained)
    if both:
        raise InputError(f"the checkpoint was trained on {', '.join(both)}", expected="patients it has not seen")
    options = DataOptions(slices=slices, depth=1 if saved["dims"] == 2 else 16)
    seen_as = NORMALISATIONS[saved["normalisation"]["preset"]]
    prepared = [derive(study) for study in studies.load(found_source, folder, chosen)]
    side = max(max(this.fused.shape[1:]) for this in prepared)
    options = replace(options, val_size=max(options.val_size, side + -side % 16))
    return Windows(prepared, options, training=False, seen_as=seen_as)


def references() -> dict[str, Predictor]:
    """The baselines, and the optimum of the objective."""

    def of(fuse: Callable[[Tensor, Tensor], Tensor]) -> Predictor:
        def predict(batch: dict[str, Any]) -> Tensor:
            ct, mr = batch["ct_display"], batch["mr_display"]
            if ct.dim() == 4:
                return fuse(ct, mr)
            fused = [fuse(ct[:, :, z], mr[:, :, z]) for z in range(ct.shape[2])]
            return torch.stack(fused, dim=2)

        return predict

    return {
        **{name: of(fuse) for name, fuse in BASELINES.items()},
        OPTIMUM: lambda batch: to_display(batch["fused"]),
    }


def measure(windows: Windows, predictors: Mapping[str, Predictor], head: nn.Module | None) -> Table:
    """All figures of all predictors."""
    from torch.utils.data import DataLoader

    rows: dict[str, list[tuple[str, dict[str, float]]]] = {name: [] for name in predictors}
    for batch in DataLoader(windows, 8):
        for name, predict in predictors.items():
            fused = predict(batch).cpu()
            for number, image in enumerate(fused):
                rows[name].append((batch["id"][number], scores.figures(image, batch, number, head)))
    return {name: scores.by_patient(found) for name, found in rows.items()}


def uncertainty(windows: Windows, model: inference.Model, samples: int = 4) -> dict[str, float]:
    """Does the spread of repeated draws tell where the error is? Spearman's correlation over tissue, by patient.

    The error is that of the mean of the draws against F*.
    """
    from scipy.stats import spearmanr
    from torch.utils.data import DataLoader

    by_patient: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for batch in DataLoader(windows, 8):
        drawn = torch.stack([to_display(model.fuse(batch, number)).cpu() for number in range(samples)])
        error = (drawn.mean(dim=0) - to_display(batch["fused"])).abs()
        tissue = (batch["soft"] + batch["bone"]) > 0
        for number, name in enumerate(batch["id"]):
            inside = tissue[number]
            pair = (drawn.std(dim=0)[number][inside], error[number][inside])
            by_patient.setdefault(name, []).append(pair)
    joined = [tuple(torch.cat(part) for part in zip(*pairs, strict=True)) for pairs in by_patient.values()]
    each = [float(spearmanr(spread.numpy(), error.numpy()).statistic) for spread, error in joined]
    return {
        "spread": float(torch.cat([spread for spread, _ in joined]).mean()),
        "error": float(torch.cat([error for _, error in joined]).mean()),
        "correlation": float(np.mean(each)),
        "lowest": min(each),
        "highest": max(each),
    }


def text(table: Table, names: Sequence[str] = scores.NAMES) -> str:
    """The figures as a Markdown table: mean and interval, and the mean rank over the selection figures."""
    judged = {who: row for who, row in table.items() if who != OPTIMUM}
    ranks = scores.mean_rank(judged)
    lines = [
        "| | " + " | ".join(names) + " | mean rank |",
        "|---" * (len(names) + 2) + "|",
    ]
    for who, row in table.items():
        cells = []
        for name in names:
            digits = 1 if name in ("SD", "SF", "AG", "bone_psnr") else 2 if row[name].mean >= 1.005 else 3
            cells.append(row[name].estimate().text(digits))
        rank = f"{ranks[who]:.1f}" if who in ranks else "-"
        lines.append(f"| {who} | " + " | ".join(cells) + f" | {rank} |")
    return "\n".join(lines)
