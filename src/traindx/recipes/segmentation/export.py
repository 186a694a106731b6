"""``traindx export segmentation``: one window of raw intensities to class probabilities, or a MONAI bundle.

A whole volume cannot be one program: it is resampled to the grid of the plan, and the windows that cover it are as many
as it takes. What is in the program is everything that happens to a window; the sidecar says the rest, in order.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from traindx.errors import UsageError
from traindx.recipes.kit import export as kit
from traindx.recipes.kit import options as kit_options
from traindx.recipes.kit.program import Port, Program
from traindx.recipes.kit.run_folder import checkpoint_in
from traindx.recipes.segmentation.inference import Predictor
from traindx.recipes.segmentation.model import finest
from traindx.recipes.segmentation.planning import Normalisation
from traindx.recipes.segmentation.preprocessing import SPACING_TOLERANCE
from traindx.recipes.segmentation.sliding import OVERLAP, SIGMA_SCALE, flip_sets

_LARGEST = 3.0e38  # of float32, near enough: channels without a clip get it as their bounds
_SMALLEST_SD = 1e-8  # as preprocessing.normalise
_LEAST_WEIGHT = 1e-3  # of a window's Gaussian: MONAI's compute_importance_map, which inference uses


class WindowProbabilities(nn.Module):
    """Raw intensities of a window to class probabilities, averaged over networks and mirrored views.

    Args:
        networks: Ensemble.
        schemes: Normalisation of each channel.
        flips: Axes (0, 1, 2) that are mirrored and averaged.
    """

    def __init__(self, networks: Sequence[nn.Module], schemes: Sequence[Normalisation], flips: Sequence[int]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.views = [[axis + 2 for axis in view] for view in flip_sets(flips)]
        self.by_volume = any(scheme.kind == "zscore" for scheme in schemes)
        fixed = [scheme.kind == "ct" for scheme in schemes]

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1, 1)

        self.register_buffer("fixed", column([float(one) for one in fixed]))
        self.register_buffer("low", column([s.low if f else -_LARGEST for s, f in zip(schemes, fixed, strict=True)]))
        self.register_buffer("high", column([s.high if f else _LARGEST for s, f in zip(schemes, fixed, strict=True)]))
        self.register_buffer("mean", column([s.mean if f else 0.0 for s, f in zip(schemes, fixed, strict=True)]))
        self.register_buffer("sd", column([s.sd if f else 1.0 for s, f in zip(schemes, fixed, strict=True)]))

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        """``image`` ``(B, C, D, H, W)``; ``mean``, ``sd`` ``(B, C)`` where a channel is standardised by its volume."""
        image = inputs[0]
        mean, sd = self.get_buffer("mean"), self.get_buffer("sd")
        if self.by_volume:
            own_mean, own_sd = (value[:, :, None, None, None] for value in inputs[1:])
            fixed = self.get_buffer("fixed")
            mean = mean * fixed + own_mean * (1 - fixed)
            sd = sd * fixed + own_sd.clamp_min(_SMALLEST_SD) * (1 - fixed)
        clipped = torch.minimum(torch.maximum(image, self.get_buffer("low")), self.get_buffer("high"))
        values = (clipped - mean) / sd
        total = torch.zeros_like(values[:, :1])
        for network in self.networks:
            for axes in self.views:
                p = torch.softmax(finest(network(torch.flip(values, axes) if axes else values)), dim=1)
                total = total + (torch.flip(p, axes) if axes else p)
        return (total / (len(self.networks) * len(self.views)),)


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "segmentation",
        "In: a window of raw intensities in the size of the plan's patch (and, unless it is CT, the mean and standard "
        "deviation of its volume). Out: class probabilities. Normalisation, softmax, mirrored views and the ensemble "
        "of several checkpoints are in the program; resampling, sliding, threshold and clean-up are described beside "
        "it. A MONAI bundle holds one network and MONAI's own transforms for all of these steps.",
    )
    group = kit_options.model(made, many=True, device=False)
    group.add_argument("--no-flips", action="store_true", help="do not average over mirrored views")
    return made


def export(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: A bundle of an ensemble, or of mirrored views, is asked for.
        InputError: A checkpoint cannot be used.
    """
    options = parser().parse_args(list(argv))
    kit.check_possible(options, "segmentation", bundle=True)
    bundled = options.to == kit.BUNDLE
    if bundled and len(options.checkpoint) > 1:
        raise UsageError(
            f"a MONAI bundle holds one network, and {len(options.checkpoint)} checkpoints are given",
            expected="one checkpoint",
            do="export the ensemble with --to torchscript or --to onnx",
        )
    paths = [checkpoint_in(path) for path in options.checkpoint]
    predictor = Predictor.load(paths)
    if options.no_flips:
        predictor.settings = predictor.settings.model_copy(update={"flips": ()})
    if bundled:
        from traindx.recipes.segmentation import bundle

        return bundle.write(predictor, options, paths[0])
    return kit.write(program_of(predictor), options, paths)


def program_of(predictor: Predictor) -> Program:
    """The program of a predictor."""
    plan, settings = predictor.plan, predictor.settings
    module = WindowProbabilities([one.network for one in predictor.modules], plan.normalisation, settings.flips)
    axes = ("batch", "channel", "right", "anterior", "superior")
    ct = all(scheme.kind == "ct" for scheme in plan.normalisation)
    lows = [scheme.low for scheme in plan.normalisation if scheme.kind == "ct"]
    highs = [scheme.high for scheme in plan.normalisation if scheme.kind == "ct"]
    unit = "HU" if ct else "as stored"
    inputs = [
        Port(
            "image",
            axes,
            (plan.channels, *plan.patch),
            unit,
            (min(lows, default=0.0) - 100, max(highs, default=1000.0) + 100),
            "a window of the volume on the plan's grid, axes to the right, anterior and superior (RAS+)",
        )
    ]
    if module.by_volume:
        said = "over all voxels of the whole volume, before it is resampled, one a channel"
        if lows:
            said += f" (not looked at in channels {_numbers(plan.normalisation, 'ct')}, which are CT)"
        inputs += [
            Port("mean", ("batch", "channel"), (plan.channels,), unit, (300.0, 700.0), f"mean {said}"),
            Port("sd", ("batch", "channel"), (plan.channels,), unit, (100.0, 300.0), f"standard deviation {said}"),
        ]
    names = ["background", *plan.labels.names]
    output = Port(
        "probabilities",
        ("batch", "class", *axes[2:]),
        (plan.labels.channels, *plan.patch),
        "1",
        (0.0, 1.0),
        f"probabilities of {', '.join(names)}; they sum to 1 at each voxel",
    )
    return Program(
        "segmentation",
        module,
        tuple(inputs),
        (output,),
        _before(predictor),
        _after(predictor),
        _facts(predictor),
        (
            (
                "traindx predict runs the network of this plan in bfloat16, the program in float32: probabilities "
                "differ by the rounding of bfloat16 (about 0.01)",
            )
            if predictor.modules[0].bf16
            else ()
        ),
    )


def _numbers(schemes: Sequence[Normalisation], kind: str) -> str:
    return ", ".join(str(index) for index, scheme in enumerate(schemes) if scheme.kind == kind)


def _before(predictor: Predictor) -> tuple[str, ...]:
    plan = predictor.plan
    spacing = " x ".join(f"{value:g}" for value in plan.spacing)
    size = " x ".join(str(value) for value in plan.patch)
    steps = ["permute and flip the axes to right, anterior, superior (no interpolation)"]
    by_volume, ct = _numbers(plan.normalisation, "zscore"), _numbers(plan.normalisation, "ct")
    if by_volume:
        steps.append(f"take mean and standard deviation of channels {by_volume} over the whole volume")
    for index, scheme in enumerate(plan.normalisation):
        if scheme.kind == "ct":
            steps.append(f"clip channel {index} to {scheme.low:g}..{scheme.high:g} before resampling")
    steps += [
        f"where the spacing differs by more than {100 * SPACING_TOLERANCE:g} %, resample to {spacing} mm: "
        "round(size * spacing / new spacing) voxels over the same field of view, averaging where an axis shrinks "
        "(torch adaptive_avg_pool3d), then trilinear (torch interpolate, align_corners=False)",
        f"pad volumes smaller than {size} evenly on both sides with the mean"
        + (f" (channels {ct}: that in facts.normalisation)" if ct else ""),
        f"cut windows of {size} with {100 * OVERLAP:g} % overlap that cover the volume",
    ]
    return tuple(steps)


def _after(predictor: Predictor) -> tuple[str, ...]:
    settings = predictor.settings
    chosen = (
        "take the likeliest class at each voxel, background included"
        if settings.threshold is None
        else f"a voxel is foreground where 1 - p(background) >= {settings.threshold:g}, of its likeliest class"
    )
    cleanup = settings.cleanup
    steps = [
        f"average the windows with Gaussian weights of a standard deviation of {SIGMA_SCALE:g} of the window, none "
        f"below {_LEAST_WEIGHT:g}",
        "resample the probabilities back to the volume's own grid, as before but the other way",
        "undo the exchange of axes",
        chosen,
    ]
    if cleanup.min_voxels:
        steps.append(f"remove components of fewer than {cleanup.min_voxels} voxels of each class (touching by faces)")
    if cleanup.largest:
        steps.append("keep the largest component of each class (touching by faces)")
    if cleanup.fill_holes:
        steps.append("fill background that a class encloses with that class")
    steps.append("write facts.label_values at each class index")
    return tuple(steps)


def _facts(predictor: Predictor) -> dict[str, Any]:
    plan, settings = predictor.plan, predictor.settings
    return {
        "axes": "RAS+",
        "spacing_mm": list(plan.spacing),
        "window": list(plan.patch),
        "overlap": OVERLAP,
        "sigma_of_window": SIGMA_SCALE,
        "least_weight": _LEAST_WEIGHT,
        "normalisation": [scheme.model_dump(mode="json") for scheme in plan.normalisation],
        "classes": ["background", *plan.labels.names],
        "label_values": [plan.labels.background[0], *(values[0] for values in plan.labels.classes.values())],
        "label_dtype": plan.label_dtype,
        "threshold": settings.threshold,
        "cleanup": settings.cleanup.model_dump(mode="json"),
        "mirrored_axes": list(settings.flips),
        "networks": len(predictor.modules),
    }
