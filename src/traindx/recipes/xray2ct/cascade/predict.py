"""``traindx predict xray2ct_regression`` and ``xray2ct_cascade``: from radiographs, or a CT, to a volume."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from traindx.recipes.kit import options as kit
from traindx.recipes.kit.run_folder import checkpoint_in
from traindx.recipes.xray2ct.cascade import contract
from traindx.recipes.xray2ct.cascade.cascade import RECIPE, Method
from traindx.recipes.xray2ct.cascade.evaluate import reconstruct
from traindx.recipes.xray2ct.cascade.ladder import at_size
from traindx.recipes.xray2ct.predict import (
    add_dicom,
    add_images,
    centred_affine,
    check_given,
    radiograph_of,
    store,
    store_dicom,
    truth_of,
)
from traindx.recipes.xray2ct.radiograph import line_integral, mu_from_hu, to_network


def parser(method: Method) -> argparse.ArgumentParser:
    """Options of the command."""
    name = RECIPE[method]
    made = kit.parser(
        "predict",
        name,
        "Reconstruct a CT volume by a trained model and write it as NIfTI, with a picture of three planes.",
        f"--checkpoint runs/{name} --ct chest.nii.gz",
    )
    add_images(made)
    kit.sampling(kit.model(made), 4 if method == "diffusion" else None, "volumes")
    add_dicom(kit.results(made, "volume and picture", default="predicted"))
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
    checkpoint = contract.read(checkpoint_in(options.checkpoint), RECIPE[method])
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
    if options.dicom:
        store_dicom(options.out, name, hu, affine, options.ct)
    return 0
