"""Hippocampus segmentation: this recipe and the pipelines of others, given the same minutes on the same machine.

    python benchmarks/segmentation_hippocampus.py --data $TRAINDX_DATA/hippocampus --minutes 20 --method recipe

Every method trains on the same patients, spends the same budget and is scored by the same code on the same hold-out (a
fifth of the patients, seed 0; a tenth of the rest chooses the clean-up of the recipe, and the others train on it).
Each sets the length of its own schedule by timing a few steps, so that every learning rate is annealed to its end.

* ``recipe``: ``traindx train segmentation --source hippocampus``; ``recipe-unet``: with ``--model.architecture=unet``.
* ``nnunet``: nnU-Net v2 itself, in an environment of its own; see ``segmentation_nnunet.py``.
* ``nnunet-plan``, ``monai-unet``, ``monai-segresnet``, ``monai-dynunet``: see ``segmentation_monai.py``.
* ``atlas``: the most frequent training label, without looking at the image.

``--clock cpu`` (the default) counts processor seconds and takes ``minutes x cores`` of them: the fair unit on a machine
that is shared. The result says what was spent by both clocks. ``--out`` collects results of several calls in one file,
with the scores of every patient. ``segmentation_peers.py`` runs all of them and compares them in pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_nnunet as nnunet
import torch
from segmentation_monai import PEERS, Spent, steps_for, train_peer
from torch import nn

from traindx.recipes.segmentation.data import SegmentationData
from traindx.recipes.segmentation.evaluation import (
    Evaluation,
    atlas,
    atlas_segmenter,
    evaluate_masks,
    evaluate_predictor,
    score_refs,
    table,
)
from traindx.recipes.segmentation.inference import Predictor
from traindx.recipes.segmentation.metrics import NSD_TOLERANCE_MM, summarise
from traindx.recipes.segmentation.model import Architecture
from traindx.recipes.segmentation.planning import Plan
from traindx.recipes.segmentation.preprocessing import class_map, prepare_image, to_file_grid
from traindx.recipes.segmentation.train import PRESETS, run

warnings.filterwarnings("ignore")
PATIENT_SCORES = ("dice", "nsd", "hd95_mm")


def data_of(options: argparse.Namespace, **more: Any) -> SegmentationData:
    labels = {"background": 0, "anterior": 1, "posterior": 2}
    return SegmentationData(options.data, labels=labels, folds=10, holdout=0.2, **more)


def budget(options: argparse.Namespace) -> float:
    """Seconds of the chosen clock that a training may take."""
    return float(options.minutes * 60 * (options.cores if options.clock == "cpu" else 1))


def train_recipe(options: argparse.Namespace, folder: Path) -> tuple[Path, Spent]:
    """The recipe's own command, with the number of steps that fit the budget."""
    from traindx.recipes.segmentation.module import SegmentationModule

    data = data_of(options)
    data.setup("fit")
    architecture: Architecture = "unet" if options.method == "recipe-unet" else "dynunet"
    module = SegmentationModule(data.plan, architecture=architecture)
    optimizer = torch.optim.AdamW(module.parameters())
    batches = iter(data.train_dataloader())

    def step() -> None:
        torch.stack(list(module.loss_terms(next(batches)).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    # validation, checkpoints and averaging take about 4 % (measured on this preset)
    steps, each = steps_for(step, 0.96 * budget(options), options.clock)
    print(f"{each:.3f} s a step by the {options.clock} clock: {steps} steps", flush=True)
    arguments = [
        "--config",
        str(PRESETS / "standard.yaml"),
        "--data.source=hippocampus",
        f"--data.root={options.data}",
        f"--trainer.max_steps={steps}",
        "--trainer.enable_progress_bar=false",
        "--trainer.accelerator=cpu",
        f"--seed_everything={options.seed}",
        f"--data.seed={options.seed}",
        f"--model.architecture={architecture}",
        *options.more,
    ]
    wall, cpu = time.perf_counter(), time.process_time()
    checkpoint = run(arguments, folder)
    return checkpoint, Spent(steps, (time.perf_counter() - wall) / 60, (time.process_time() - cpu) / 60, each)


def score_peer(options: argparse.Namespace, method: str, net: nn.Module, plan: Plan) -> Evaluation:
    """Score a reference pipeline the way the recipe is scored (its mirrored views too, where it trained with them)."""
    from traindx.recipes.segmentation.fingerprint import canonical
    from traindx.recipes.segmentation.sliding import predict_probabilities

    data = data_of(options)
    flips = PEERS[method].flips

    def segment(ref: Any, raw: Any) -> Any:
        started = time.perf_counter()
        image, _ = prepare_image(canonical(raw), plan)
        p = predict_probabilities(net, torch.from_numpy(image)[None], plan.patch, flips=flips)[0].numpy()
        p = to_file_grid(p, raw.image.shape[1:], raw.affine)
        return class_map(p, None), 1 - p[0], time.perf_counter() - started

    refs = [data.refs[name] for name in data.split.test]
    rows, left_out = score_refs(refs, plan.labels, segment)
    return Evaluation(
        names=plan.labels.names,
        cases=tuple(rows),
        summary=summarise(rows, plan.labels.names),
        left_out=tuple(left_out),
        settings=method,
    )


def score_atlas(options: argparse.Namespace) -> Evaluation:
    """Score the most frequent training label at every voxel."""
    data = data_of(options)
    names = (*data.split.train, *data.split.val)
    frequencies = atlas([data.refs[name] for name in names], data.plan.labels, data.plan.patch)
    refs = [data.refs[name] for name in data.split.test]
    rows, _ = score_refs(refs, data.plan.labels, atlas_segmenter(frequencies))
    return Evaluation(
        names=data.plan.labels.names,
        cases=tuple(rows),
        summary=summarise(rows, data.plan.labels.names),
        settings="atlas: most frequent training label",
    )


def measure(options: argparse.Namespace) -> tuple[Evaluation, Spent]:
    """Train a method and score it on the hold-out."""
    folder = options.folder or Path(tempfile.mkdtemp(prefix="traindx-hippocampus-"))
    if options.method.startswith("recipe"):
        checkpoint, spent = train_recipe(options, folder)
        data = data_of(options)
        return evaluate_predictor(Predictor.load([checkpoint]), [data.refs[name] for name in data.split.test]), spent
    if options.method == "atlas":
        return score_atlas(options), Spent(0, 0.0, 0.0, 0.0)
    data = data_of(options)
    if options.method == "nnunet":
        masks, spent = nnunet.train_and_predict(
            options.data, data.split, folder, seconds=budget(options), seed=options.seed, cores=options.cores
        )
        refs = [data.refs[name] for name in data.split.test]
        return evaluate_masks(masks, refs, data.plan.labels, tolerance=NSD_TOLERANCE_MM), spent
    net, plan, spent = train_peer(data, options.method, seconds=budget(options), kind=options.clock, seed=options.seed)
    return score_peer(options, options.method, net, plan), spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("TRAINDX_DATA", "../shared/data")) / "hippocampus"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--method", choices=("recipe", "recipe-unet", "nnunet", *PEERS, "atlas"), default="recipe")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to which the result is appended")
    parser.add_argument("--folder", type=Path, help="folder of the run (default: a temporary one)")
    parser.add_argument("more", nargs="*", help="further options of the recipe, after --")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    result, spent = measure(options)
    print(table(result))
    seconds = [case.seconds for case in result.cases if np.isfinite(case.seconds)]
    record = {
        "method": options.method,
        "minutes": options.minutes,
        "cores": options.cores,
        "clock": options.clock,
        "seed": options.seed,
        "options": options.more,
        **spent.__dict__,
        "inference_seconds_a_case": float(np.mean(seconds)) if seconds else None,
        "cases": len(result.cases),
        "load": os.getloadavg(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "scores": {
            name: {score: value.model_dump() for score, value in row.items()} for name, row in result.summary.items()
        },
        "patients": {
            case.name: {
                name: {key: getattr(scores, key) for key in PATIENT_SCORES} for name, scores in case.classes.items()
            }
            for case in result.cases
        },
    }
    print(f"spent {spent.cpu_minutes:.1f} processor minutes, {spent.wall_minutes:.1f} minutes on the wall clock")
    if options.out:
        known = json.loads(options.out.read_text()) if options.out.exists() else []
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([*known, record], indent=1))


if __name__ == "__main__":
    main()
