"""``traindx evaluate xray2ct_regression`` and ``xray2ct_cascade``: figures on held-out patients, beside baselines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from traindx.recipes.kit import options as kit
from traindx.recipes.kit.estimate import Score, Table, as_json, write_scores
from traindx.recipes.kit.run_folder import checkpoint_in
from traindx.recipes.xray2ct.assessment import PUBLISHED, Predict, assess, text, trivial
from traindx.recipes.xray2ct.cascade import contract
from traindx.recipes.xray2ct.cascade.cascade import RECIPE, Cascade, Method, Plan
from traindx.recipes.xray2ct.cascade.denoising import draw
from traindx.recipes.xray2ct.cascade.ladder import coarsened, refined
from traindx.recipes.xray2ct.data import Data
from traindx.recipes.xray2ct.evaluate import add_data, data_of
from traindx.recipes.xray2ct.metrics import psnr_hu
from traindx.recipes.xray2ct.predict import write_picture
from traindx.recipes.xray2ct.train import MOVED


def parser(method: Method) -> argparse.ArgumentParser:
    """Options of the command."""
    name = RECIPE[method]
    made = kit.parser(
        "evaluate",
        name,
        "PSNR over the volume and over slices, SSIM, errors by tissue, agreement with the radiographs and spectrum on "
        "validation patients, for every stage, beside the mean training volume and the training volume with the "
        "nearest radiographs; intervals are bootstrapped over patients.",
        f"--checkpoint runs/{name}",
    )
    add_data(made, train=74, val=17)
    kit.sampling(kit.model(made, device=False), 4 if method == "diffusion" else None, "volumes")
    group = kit.results(made, "scores.json and pictures", json="the figures of every patient")
    group.add_argument("--pictures", type=int, default=0, help="patients to draw, beside the truth (default: 0)")
    return made


def regression(argv: Sequence[str]) -> int:
    """Evaluate the progressive regression."""
    return main("regression", argv)


def diffusion(argv: Sequence[str]) -> int:
    """Evaluate the diffusion cascade."""
    return main("diffusion", argv)


def main(method: Method, argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        InputError: The checkpoint cannot be used, or was made for other volumes.
    """
    kit.refuse_old(argv, MOVED)
    options = parser(method).parse_args(list(argv))
    checkpoint = contract.read(checkpoint_in(options.checkpoint), RECIPE[method])
    cascade, plan = contract.cascade_from(checkpoint, getattr(options, "sampling_steps", 4))
    data = data_of(options, plan.geometry, plan.window, 4)
    torch.manual_seed(options.seed)
    table, kept = measured(data, cascade, plan, getattr(options, "samples", 1), options.pictures)
    write_scores(options.out, table)
    if options.json:
        print(as_json(table))
    else:
        print(text(table, len(data.val)))
        print(stages_text(data, cascade, plan))
        print(PUBLISHED)
    if options.pictures:
        out = options.out or Path("evaluated")
        out.mkdir(parents=True, exist_ok=True)
        for number, predicted in enumerate(kept):
            name = data.val.patients.ids[number]
            volumes = {"truth": data.val.patients.hu[number, 0], "predicted": predicted}
            write_picture(out / f"{name}.png", volumes)
        print(f"{len(kept)} pictures in {out}", file=sys.stderr if options.json else sys.stdout)
    return 0


def reconstruct(cascade: Cascade, plan: Plan, batch: dict[str, Any], stages: int | None = None) -> Tensor:
    """Volumes in HU at the resolution of a stage: one pass of the regression, or one draw of the cascade."""
    radiographs = {view: batch[view] for view in plan.views}
    with torch.no_grad():
        if plan.method == "regression":
            volume = cascade(radiographs, stages)
        else:
            volume = draw(cascade, plan.process, radiographs, stages=stages)
    return plan.window.decode(volume.float().clamp(-1, 1))


def predictors(cascade: Cascade, plan: Plan, samples: int = 1) -> dict[str, Predict]:
    """Every stage, up-sampled to the resolution of the data, as a predictor from batches to HU."""
    size = plan.geometry.shape[0]

    def of(stages: int) -> Predict:
        def predict(batch: dict[str, Any]) -> Tensor:
            drawn = [reconstruct(cascade, plan, batch, stages) for _ in range(samples)]
            return refined(torch.stack(drawn).mean(dim=0), size)

        return predict

    return {f"stage {number} ({stage}³)": of(number) for number, stage in enumerate(plan.sizes, start=1)}


def measured(
    data: Data, cascade: Cascade, plan: Plan, samples: int = 1, pictures: int = 0
) -> tuple[Table, list[Tensor]]:
    """The table of all stages and baselines, and predictions of the last stage for pictures."""
    table: Table = {}
    kept: list[Tensor] = []
    for name, predict in predictors(cascade, plan, samples).items():
        table[name], kept = assess(data, predict, pictures)
    for name, predict in trivial(data, plan.views).items():
        table[name], _ = assess(data, predict)
    return table, kept


def stages_text(data: Data, cascade: Cascade, plan: Plan) -> str:
    """Each later stage against the up-sampled earlier one, at its own resolution, paired over patients."""
    lines = []
    for number in range(2, len(plan.sizes) + 1):
        size = plan.sizes[number - 1]
        scores: dict[int, list[float]] = {number - 1: [], number: []}
        for batch in data.val_batches():
            truth = plan.window.decode(coarsened(plan.window.encode(batch["hu"]), size))
            for stages, values in scores.items():
                volumes = refined(reconstruct(cascade, plan, batch, stages), size)
                pairs = zip(volumes, truth, strict=True)
                values += [float(psnr_hu(volume[None], wanted[None])) for volume, wanted in pairs]
        own, earlier = Score(tuple(scores[number])), Score(tuple(scores[number - 1]))
        difference = own.estimate(minus=earlier).text(2, "+").replace(" [", " dB [")
        lines.append(
            f"stage {number} at {size}³: {own.mean:.2f} dB, the up-sampled stage {number - 1}: {earlier.mean:.2f} dB; "
            f"difference {difference}"
        )
    return "\n".join(lines)
