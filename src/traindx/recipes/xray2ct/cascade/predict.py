"""``traindx predict xray2ct_regression`` and ``xray2ct_cascade``: from radiographs, or a CT, to a volume."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from traindx.recipes.xray2ct.cascade import contract
from traindx.recipes.xray2ct.cascade.cascade import RECIPE, Method
from traindx.recipes.xray2ct.cascade.evaluate import reconstruct
from traindx.recipes.xray2ct.cascade.ladder import at_size
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.predict import centred_affine, check_given, radiograph_of, store, truth_of
from traindx.recipes.xray2ct.radiograph import line_integral, mu_from_hu, to_network


def parser(method: Method) -> argparse.ArgumentParser:
    """Options of the command."""
    name = RECIPE[method]
    made = argparse.ArgumentParser(
        prog=f"traindx predict {name}",
        description="Reconstruct a CT volume by a trained model and write it as NIfTI, with a picture of three planes.",
        epilog=f"Example: traindx predict {name} --checkpoint runs/{name}/stage2/best.ckpt --ct chest.nii.gz",
    )
    made.add_argument("--checkpoint", type=Path, required=True, help=f"checkpoint of traindx train {name}")
    made.add_argument("--ct", type=Path, help="CT in NIfTI; its radiographs are rendered, the result compared to it")
    for view in VIEWS:
        made.add_argument(f"--{view}", type=Path, help=f"{view} radiograph: line integrals -log(I/I0) in .npy")
    if method == "diffusion":
        made.add_argument("--samples", type=int, default=1, help="volumes drawn and averaged (default: 1)")
        made.add_argument("--sampling-steps", type=int, default=4, help="DDIM steps of each stage (default: 4)")
    made.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    made.add_argument("--device", default="cpu", help="where to run (default: cpu)")
    made.add_argument("--out", type=Path, default=Path("predicted"), help="folder for the results")
    return made


def regression(argv: Sequence[str]) -> int:
    """Predict by the progressive regression."""
    return main("regression", argv)


def diffusion(argv: Sequence[str]) -> int:
    """Predict by the diffusion cascade."""
    return main("diffusion", argv)


def main(method: Method, argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: Neither a CT nor the radiographs that the model needs are given, or both.
        InputError: A file cannot be used.
    """
    options = parser(method).parse_args(list(argv))
    checkpoint = contract.read(options.checkpoint, RECIPE[method])
    cascade, plan = contract.cascade_from(checkpoint, getattr(options, "sampling_steps", 4))
    check_given(options, plan.views)
    cascade = cascade.to(options.device)
    truth: Tensor | None = None
    size = plan.sizes[-1]
    if options.ct is not None:
        truth, affine = truth_of(options.ct, plan.geometry)
        images = {view: line_integral(mu_from_hu(truth), view, plan.geometry) for view in plan.views}
        name = options.ct.name.removesuffix(".gz").removesuffix(".nii")
    else:
        affine = centred_affine(at_size(plan.geometry, size))
        images = {view: radiograph_of(getattr(options, view), plan.geometry) for view in plan.views}
        name = getattr(options, plan.views[0]).stem
    batch = {view: to_network(image).to(options.device) for view, image in images.items()}
    torch.manual_seed(options.seed)
    drawn = [reconstruct(cascade, plan, batch) for _ in range(getattr(options, "samples", 1))]
    hu = torch.stack(drawn).mean(dim=0).cpu()
    if truth is not None and size != truth.shape[-1]:
        truth, affine = truth_of(options.ct, at_size(plan.geometry, size))
    store(options.out, name, hu, affine, truth)
    return 0
