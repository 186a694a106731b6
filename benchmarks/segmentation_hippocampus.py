"""Hippocampus segmentation: this recipe and two reference pipelines, given the same minutes on the same machine.

    python benchmarks/segmentation_hippocampus.py --data $TRAINDX_DATA/hippocampus --minutes 20 --method recipe

Every method trains on the same patients, spends the same budget and is scored by the same code on the same hold-out (a
fifth of the patients, seed 0; a tenth of the rest chooses the threshold of the recipe and is not used by the others).
Each sets the length of its own schedule by timing a few steps, so that every learning rate is annealed to its end.

* ``recipe``: ``traindx train segmentation --source hippocampus``.
* ``nnunet-plan``: what nnU-Net v2 plans for this data set (patch 40x56x40, batch 9, 32 to 256 channels, deep
  supervision, SGD with Nesterov momentum .99 and polynomial decay, its rotations, scalings and mirrorings), in
  MONAI's DynUNet, which was made to reproduce it. nnunetv2 itself is not used because its current releases depend on
  torchvision (through timm).
* ``monai-unet``: the residual U-Net of MONAI's 3D segmentation tutorial, with its loss, optimiser and transforms.

``--clock cpu`` (the default) counts processor seconds and takes ``minutes x cores`` of them: the fair unit on a machine
that is shared. The result says what was spent by both clocks. ``--out`` collects results of several calls in one file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from traindx.recipes.segmentation.data import SegmentationData
from traindx.recipes.segmentation.evaluation import (
    Evaluation,
    atlas,
    atlas_segmenter,
    evaluate_predictor,
    score_refs,
    table,
)
from traindx.recipes.segmentation.inference import Predictor
from traindx.recipes.segmentation.metrics import summarise
from traindx.recipes.segmentation.patches import PatchDataset, SampleNumbers
from traindx.recipes.segmentation.planning import Plan
from traindx.recipes.segmentation.preprocessing import class_map, prepare_image, to_file_grid
from traindx.recipes.segmentation.train import PRESETS, run

warnings.filterwarnings("ignore")
PROBE = 6


@dataclass
class Spent:
    """What a training cost."""

    steps: int
    wall_minutes: float
    cpu_minutes: float
    step_seconds: float


def clock(kind: str) -> Callable[[], float]:
    """Seconds of wall or processor time of this process."""
    return time.process_time if kind == "cpu" else time.perf_counter


def steps_for(step: Callable[[], None], seconds: float, kind: str) -> tuple[int, float]:
    """Number of steps that fit into seconds of the clock, after two warm-up steps."""
    now = clock(kind)
    for number in range(PROBE + 2):
        if number == 2:
            started = now()
        step()
    each = (now() - started) / PROBE
    return max(1, int(seconds / each)), each


def data_of(options: argparse.Namespace, **more: Any) -> SegmentationData:
    labels = {"background": 0, "anterior": 1, "posterior": 2}
    return SegmentationData(options.data, labels=labels, folds=10, holdout=0.2, **more)


def train_recipe(options: argparse.Namespace, folder: Path) -> tuple[Path, Spent]:
    """The recipe's own command, with the number of steps that fit the budget."""
    from traindx.recipes.segmentation.module import SegmentationModule

    data = data_of(options)
    data.setup("fit")
    module = SegmentationModule(data.plan)
    optimizer = torch.optim.AdamW(module.parameters())
    batches = iter(data.train_dataloader())

    def step() -> None:
        torch.stack(list(module.loss_terms(next(batches)).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    budget = options.minutes * 60 * (options.cores if options.clock == "cpu" else 1)
    # validation, checkpoints and averaging take about 4 % (measured on this preset)
    steps, each = steps_for(step, 0.96 * budget, options.clock)
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
        *options.more,
    ]
    wall, cpu = time.perf_counter(), time.process_time()
    checkpoint = run(arguments, folder)
    return checkpoint, Spent(steps, (time.perf_counter() - wall) / 60, (time.process_time() - cpu) / 60, each)


def nnunet_plan(plan: Plan) -> tuple[nn.Module, int]:
    """Network and batch that nnU-Net v2 plans for the Decathlon hippocampus."""
    from traindx.recipes.segmentation.model import build_network

    wide = plan.model_copy(update={"filters": (32, 64, 128, 256), "patch": (40, 56, 40)})
    return build_network(wide, deep_supervision=2).to(memory_format=torch.contiguous_format), 9


def monai_unet(plan: Plan) -> tuple[nn.Module, int]:
    """The network of MONAI's 3D segmentation tutorial, batch 2 with 4 patches each becomes 4 here for memory."""
    from monai.networks.nets import UNet

    net = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=plan.labels.channels,
        channels=(16, 32, 64, 128),
        strides=(2, 2, 2),
        num_res_units=2,
        norm="batch",
    )
    return net, 4


def train_peer(options: argparse.Namespace, method: str) -> tuple[nn.Module, Plan, Spent]:
    """Train a reference pipeline on the training and validation patients of the recipe's split."""
    from monai.losses import DiceCELoss

    from traindx.recipes.segmentation.augmentation import Augmentation

    torch.manual_seed(options.seed)
    nnunet = method == "nnunet-plan"
    data = data_of(options)
    plan = data.plan
    net, batch = nnunet_plan(plan) if nnunet else monai_unet(plan)
    cases = [*data.dataset("train"), *data.dataset("val")]
    augmentation = (
        Augmentation(rotation=30, scale=(0.7, 1.4), flips=(0, 1, 2), probability=0.36)
        if nnunet
        else Augmentation(probability=0.0, strength=0.0, flips=())
    )
    patches = PatchDataset(cases, plan.patch, augmentation=augmentation, foreground=0.33 if nnunet else 0.5)
    numbers = iter(SampleNumbers(len(cases), 10**9, options.seed))
    criterion = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=nnunet)
    parameters = list(net.parameters())
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(parameters, lr=1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
        if nnunet
        else torch.optim.Adam(parameters, lr=1e-3)
    )

    def step() -> None:
        net.train()
        drawn = [patches[next(numbers)] for _ in range(batch)]
        image = torch.stack([one["image"] for one in drawn])
        label = torch.stack([one["label"] for one in drawn]).clamp(min=0)  # neither knows of unlabelled voxels
        output: Tensor = net(image)
        heads = list(output.unbind(1)) if output.ndim == 6 else [output]
        shares = [2.0**-k for k in range(len(heads))]
        loss = sum(w * criterion(head, label) for w, head in zip(shares, heads, strict=True)) / sum(shares)
        optimizer.zero_grad()
        loss.backward()
        if nnunet:
            nn.utils.clip_grad_norm_(parameters, 12)
        optimizer.step()

    started, used = time.perf_counter(), time.process_time()
    budget = options.minutes * 60 * (options.cores if options.clock == "cpu" else 1)
    steps, each = steps_for(step, budget, options.clock)
    print(f"{method}: {each:.2f} s a step by the {options.clock} clock: {steps} steps", flush=True)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, power=0.9)
    for number in range(max(0, steps - PROBE - 2)):
        step()
        if nnunet:
            schedule.step()
        if number % 50 == 0:
            print(f"{method}: step {number}", flush=True)
    spent = Spent(steps, (time.perf_counter() - started) / 60, (time.process_time() - used) / 60, each)
    return net, plan, spent


def score_peer(options: argparse.Namespace, method: str, net: nn.Module, plan: Plan) -> Evaluation:
    """Score a reference pipeline the way the recipe is scored (its mirrored views too, where it trained with them)."""
    from traindx.recipes.segmentation.fingerprint import canonical
    from traindx.recipes.segmentation.sliding import predict_probabilities

    data = data_of(options)
    flips = (0, 1, 2) if method == "nnunet-plan" else ()

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("TRAINDX_DATA", "../shared/data")) / "hippocampus"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--method", choices=("recipe", "nnunet-plan", "monai-unet", "atlas"), default="recipe")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to which the result is appended")
    parser.add_argument("--folder", type=Path, help="folder of the recipe's run (default: a temporary one)")
    parser.add_argument("more", nargs="*", help="further options of the recipe, after --")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    if options.method == "recipe":
        folder = options.folder or Path(tempfile.mkdtemp(prefix="traindx-hippocampus-"))
        checkpoint, spent = train_recipe(options, folder)
        data = data_of(options)
        refs = data.refs
        predictor = Predictor.load([checkpoint])
        result = evaluate_predictor(predictor, [refs[name] for name in data.split.test])
    elif options.method == "atlas":
        data = data_of(options)
        names = (*data.split.train, *data.split.val)
        frequencies = atlas([data.refs[name] for name in names], data.plan.labels, data.plan.patch)
        rows, _ = score_refs(
            [data.refs[name] for name in data.split.test], data.plan.labels, atlas_segmenter(frequencies)
        )
        result = Evaluation(
            names=data.plan.labels.names,
            cases=tuple(rows),
            summary=summarise(rows, data.plan.labels.names),
            settings="atlas: most frequent training label",
        )
        spent = Spent(0, 0.0, 0.0, 0.0)
    else:
        net, plan, spent = train_peer(options, options.method)
        result = score_peer(options, options.method, net, plan)
    print(table(result))
    seconds = [case.seconds for case in result.cases if np.isfinite(case.seconds)]
    record = {
        "method": options.method,
        "minutes": options.minutes,
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
    }
    print(f"spent {spent.cpu_minutes:.1f} processor minutes, {spent.wall_minutes:.1f} minutes on the wall clock")
    if options.out:
        known = json.loads(options.out.read_text()) if options.out.exists() else []
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([*known, record], indent=1))


if __name__ == "__main__":
    main()
