"""``traindx export`` of the three recipes that make a CT of radiographs: line integrals in, Hounsfield units out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.kit import export as kit
from traindx.recipes.kit import options as kit_options
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.program import Port, Program
from traindx.recipes.kit.run_folder import checkpoint_in
from traindx.recipes.kit.unrolled import steps_of, unrolled
from traindx.recipes.xray2ct import contract
from traindx.recipes.xray2ct.cascade import contract as cascade_contract
from traindx.recipes.xray2ct.cascade.cascade import RECIPE, Cascade, Method, Plan
from traindx.recipes.xray2ct.cascade.ladder import at_size
from traindx.recipes.xray2ct.cascade.stage import DiffusionStage
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.model import Denoiser
from traindx.recipes.xray2ct.radiograph import to_network

_INTEGRALS = (0.0, 8.0)  # -log(I/I0) from air to the thickest part of a chest, see radiograph.DISPLAY_CENTRE


class DrawnVolume(nn.Module):
    """Both radiographs and noise to a volume in HU, by all steps of the sampler.

    Args:
        network: The denoiser.
        process: The diffusion process with its number of steps.
        window: Hounsfield window of the volumes.
    """

    def __init__(self, network: Denoiser, process: Process, window: HounsfieldWindow) -> None:
        super().__init__()
        self.network, self.window = network, window
        self.steps, self.prediction = steps_of(process), process.prediction

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        """Frontal, lateral ``(B, 1, h, w)`` and noise ``(B, 1, D, H, W)``."""
        frontal, lateral, noise = inputs
        frontal, lateral = to_network(frontal), to_network(lateral)

        def denoise(x: Tensor, time: Tensor, alpha_bar: Tensor) -> Tensor:
            output: Tensor = self.network(x, time, alpha_bar, frontal, lateral)
            return output

        drawn = unrolled(self.steps, self.prediction, denoise, noise)
        return (self.window.decode(drawn.clamp(-1, 1)),)


class CascadedVolume(nn.Module):
    """The radiographs, and for a diffusion noise of each stage, to a volume in HU.

    Args:
        cascade: All stages.
        plan: Their plan; its process has the number of sampling steps.
    """

    def __init__(self, cascade: Cascade, plan: Plan) -> None:
        super().__init__()
        self.cascade, self.views, self.window = cascade, plan.views, plan.window
        self.steps = steps_of(plan.process) if plan.method == "diffusion" else ()
        self.prediction = plan.process.prediction

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        """One image a view, ``(B, 1, h, w)``, then the noise of each stage, ``(B, 1, D, H, W)``."""
        radiographs = {view: to_network(image) for view, image in zip(self.views, inputs, strict=False)}
        if not self.steps:
            volume = self.cascade(radiographs)
        else:
            volume = None
            for stage, noise in zip(self.cascade.stages, inputs[len(self.views) :], strict=True):
                assert isinstance(stage, DiffusionStage)
                volume = self._drawn(stage, volume, radiographs, noise)
        return (self.window.decode(volume.float().clamp(-1, 1)),)

    def _drawn(
        self, stage: DiffusionStage, earlier: Tensor | None, radiographs: dict[str, Tensor], noise: Tensor
    ) -> Tensor:
        # not Stage.start: its expand by a length would become a constant of the tracer
        start = stage.start(earlier, 1) + torch.zeros_like(noise)

        def denoise(x: Tensor, time: Tensor, alpha_bar: Tensor) -> Tensor:
            output: Tensor = stage(x, time, alpha_bar, start, radiographs)
            return output

        return unrolled(self.steps, self.prediction, denoise, noise)


def parser(name: str, diffusion: bool) -> argparse.ArgumentParser:
    """Options of the command for one of the three recipes."""
    steps = (
        "The sampler is in the program with all its steps, and its noise is an input, so the caller decides "
        "whether two calls give the same volume; --sampling-steps is fixed with the export. The mean of several draws "
        "(--samples of predict) is taken by calling it several times. "
        if diffusion
        else ""
    )
    made = kit.parser(
        name,
        "In: line integrals -log(I/I0) of the radiographs, on the detector of the checkpoint. Out: a CT volume in HU "
        f"on the grid of the checkpoint, clipped to its window. {steps}Rendering radiographs of a CT is not in it.",
        "--out exported",
    )
    group = kit_options.model(made, device=False)
    if diffusion:
        default = 8 if name == "xray2ct" else 4
        group.add_argument("--sampling-steps", type=int, default=default, help=f"DDIM steps (default: {default})")
    return made


def main(argv: Sequence[str]) -> int:
    """Export ``xray2ct``."""
    options = parser("xray2ct", diffusion=True).parse_args(list(argv))
    kit.check_possible(options, "xray2ct")
    path = checkpoint_in(options.checkpoint)
    checkpoint = contract.read(path)
    saved = checkpoint[CONTRACT_KEY]
    geometry, window = contract.geometry_from(saved), contract.window_from(saved)
    process = Process.of(saved, options.sampling_steps)
    program = program_of(
        "xray2ct",
        DrawnVolume(contract.network_from(checkpoint), process, window),
        VIEWS,
        geometry,
        geometry,
        window,
        {"noise": geometry.shape},
        process,
    )
    return kit.write(program, options, [path])


def regression(argv: Sequence[str]) -> int:
    """Export ``xray2ct_regression``."""
    return cascaded("regression", argv)


def diffusion(argv: Sequence[str]) -> int:
    """Export ``xray2ct_cascade``."""
    return cascaded("diffusion", argv)


def cascaded(method: Method, argv: Sequence[str]) -> int:
    """Export a cascade of either method."""
    name = RECIPE[method]
    options = parser(name, diffusion=method == "diffusion").parse_args(list(argv))
    kit.check_possible(options, name)
    path = checkpoint_in(options.checkpoint)
    checkpoint = cascade_contract.read(path, name)
    cascade, plan = cascade_contract.cascade_from(checkpoint, getattr(options, "sampling_steps", 4))
    noises = {
        f"noise_{number}": (size, size, size)
        for number, size in enumerate(plan.sizes, start=1)
        if method == "diffusion"
    }
    program = program_of(
        name,
        CascadedVolume(cascade, plan),
        plan.views,
        plan.geometry,
        at_size(plan.geometry, plan.sizes[-1]),
        plan.window,
        noises,
        plan.process if noises else None,
    )
    return kit.write(program, options, [path])


def program_of(
    name: str,
    module: nn.Module,
    views: tuple[str, ...],
    detector: ConeGeometry,
    grid: ConeGeometry,
    window: HounsfieldWindow,
    noises: dict[str, tuple[int, int, int]],
    process: Process | None,
) -> Program:
    """The program of any of the three recipes: what goes in and out on which detector and grid."""
    rows, columns = detector.pixels
    height, width = (round(value, 6) for value in detector.pixel_mm)
    inputs = [
        Port(
            view,
            ("batch", "channel", "row", "column"),
            (1, rows, columns),
            "1 (line integral, -log(I/I0))",
            _INTEGRALS,
            f"{view} radiograph; rows from superior to inferior, columns "
            + ("from the patient's right to the left" if view == "frontal" else "from anterior to posterior"),
        )
        for view in views
    ]
    inputs += [
        Port(noise, ("batch", "channel", "D", "H", "W"), (1, *shape), "1", (-4.0, 4.0), "noise of the sampler", True)
        for noise, shape in noises.items()
    ]
    output = Port(
        "hu",
        ("batch", "channel", "D", "H", "W"),
        (1, *grid.shape),
        "HU",
        (window.low, window.high),
        "CT volume; D from superior to inferior, H from anterior to posterior, W from the patient's right to the left",
    )
    facts: dict[str, Any] = {
        "spacing_mm_DHW": list(grid.spacing_mm),
        "origin": "the centre of the volume lies on the central ray; in mm around it, see docs/serving.md",
        "detector": {
            "pixel_mm_row_column": [height, width],
            "source_to_isocentre_mm": detector.source_to_isocentre_mm,
            "source_to_detector_mm": detector.source_to_detector_mm,
        },
        "window_hu": [window.low, window.high],
    }
    before = [
        "take -log(I/I0) of the detector's linear signal (not of an image processed for display)",
        f"resample it to {rows} x {columns} pixels of {height:g} x {width:g} mm (height x width) on the detector",
    ]
    if process is not None:
        facts["sampling"] = {"steps": process.sampling_steps, **process.contract()}
        before.append(
            "draw the noise from a standard normal distribution"
            + (": one array a stage, in the order of the stages" if len(noises) > 1 else "")
        )
    return Program(
        name,
        module,
        tuple(inputs),
        (output,),
        tuple(before),
        ("round to whole HU, as predict does; the volume is an estimate from radiographs, not an acquired CT",),
        facts,
    )
