"""``traindx export fusion``: CT and MR, or two plain images, to the fused image."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from traindx.errors import UsageError
from traindx.recipes.fusion import inference
from traindx.recipes.fusion.inference import Model
from traindx.recipes.fusion.normalisation import MR_PERCENTILE, to_display
from traindx.recipes.fusion.pairs import network as pairs
from traindx.recipes.fusion.pairs.network import PairFuser
from traindx.recipes.fusion.studies import SLICE_HU
from traindx.recipes.kit import contract as kit_contract
from traindx.recipes.kit import export as kit
from traindx.recipes.kit import options as kit_options
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.program import Port, Program
from traindx.recipes.kit.run_folder import checkpoint_in
from traindx.recipes.kit.unrolled import steps_of, unrolled

_SLICE = (256, 256)  # a common size of slices; any other is given


class FusedStudy(nn.Module):
    """CT in HU and MR as stored to the fused image on [0, 1], by the sampler with all its steps, or by the student.

    Args:
        model: The model; guidance must be off, as it needs gradients.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network, self.seen_as, self.dims = model.network, model.seen_as, model.dims
        self.student = model.sampler == "student"
        self.steps, self.prediction = steps_of(model.process), model.process.prediction

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        """``ct``, ``mr`` ``(B, 1, ...)``, the statistics of MR ``(B,)``, and the noise ``(B, 1, ...)``."""
        hu, stored, *rest = inputs
        statistics = [value.view(-1, *(1,) * (self.dims + 1)) for value in rest[: 2 if self.seen_as.mr_zscore else 1]]
        ct = self.seen_as.ct(hu)
        # the formulas of Normalisation.mr, whose statistics are numbers of one volume
        mr: Tensor = (
            (stored - statistics[0]) / statistics[1]
            if self.seen_as.mr_zscore
            else self.seen_as.mr(stored / statistics[0], 1.0, 0.0, 1.0)
        )
        if self.student:
            fused: Tensor = self.network(ct, mr)
            return (to_display(fused),)

        def denoise(x: Tensor, time: Tensor, alpha_bar: Tensor) -> Tensor:
            output: Tensor = self.network(x, time, alpha_bar, ct, mr)
            return output

        return (to_display(unrolled(self.steps, self.prediction, denoise, rest[-1])),)


class FusedPair(nn.Module):
    """Two images on [0, 1] to the fused one on [0, 1]."""

    def __init__(self, network: PairFuser) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        """``a`` and ``b``, both ``(B, 1, H, W)``."""
        fused: Tensor = self.network(*inputs)
        return (fused.clamp(0, 1),)


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "fusion",
        "Which images go in follows from the checkpoint: CT in HU and MR as stored, with the statistics of the MR "
        "volume (and the noise of the sampler, whose steps are all in the program); or two plain images on [0, 1] of a "
        "run on pairs. Out: the fused image on [0, 1]. One size is fixed with --size. Not in it, because it needs "
        "gradients: ROI guidance and --refine. Not in it either: turned views of several samples, masks, colour.",
        "--size 256 256",
    )
    group = kit_options.model(made, device=False)
    group.add_argument(
        "--size",
        type=int,
        nargs="+",
        metavar="N",
        help="rows and columns, or slices, rows and columns (default: 256 256)",
    )
    group.add_argument("--sampling-steps", type=int, default=10, help="DDIM steps (default: 10)")
    group.add_argument("--sampler", choices=("ddim", "student"), default="ddim", help="student: one pass, distilled")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: The size does not fit the network.
        InputError: The checkpoint cannot be used.
    """
    options = parser().parse_args(list(argv))
    kit.check_possible(options, "fusion")
    path = checkpoint_in(options.checkpoint)
    program = _of_pairs(path, options) if pairs.is_of_pairs(path) else _of_studies(path, options)
    return kit.write(program, options, [path])


def _size(given: list[int] | None, dims: int, multiple: int) -> tuple[int, ...]:
    size = tuple(given) if given else (_SLICE if dims == 2 else ())
    if len(size) != dims or any(side < 1 or side % multiple for side in size):
        axes = "rows and columns" if dims == 2 else "slices, rows and columns"
        raise UsageError(
            f"--size {' '.join(map(str, size)) or 'is not given'}",
            expected=f"{axes} of what goes in" + (f", each a multiple of {multiple}" if multiple > 1 else ""),
            do="pad images to it; the sidecar says with what",
        )
    return size


def _of_pairs(path: Path, options: argparse.Namespace) -> Program:
    checkpoint = pairs.read(path)
    network = PairFuser(**checkpoint[CONTRACT_KEY]["network"])
    network.load_state_dict(kit_contract.weights(checkpoint, "network."))
    return program_of_pairs(network, _size(options.size, 2, 1))


def program_of_pairs(network: PairFuser, size: tuple[int, ...]) -> Program:
    """The program of a network that fuses two plain images, for one size."""
    axes = ("batch", "channel", "row", "column")

    def image(name: str, meaning: str) -> Port:
        return Port(name, axes, (1, *size), "1", (0.0, 1.0), meaning)

    return Program(
        "fusion",
        FusedPair(network),
        (image("a", "first image, luminance"), image("b", "second image, luminance, registered to the first")),
        (image("fused", "fused luminance"),),
        (
            "scale each image to [0, 1]: 8 bit by 255; 16 bit by the largest value of the fewest bits (8, 10, 12, 14, "
            "16) that hold it; NIfTI and floating point from minimum to 99.9th percentile; CT in HU by a window",
            "colour: take the luminance 0.299 R + 0.587 G + 0.114 B",
        ),
        ("colour: add what is left of each channel less the luminance, and clip to [0, 1]",),
        {"images": "pairs"},
    )


def _of_studies(path: Path, options: argparse.Namespace) -> Program:
    model = inference.load(path, sampler=options.sampler, sampling_steps=options.sampling_steps)
    return program_of(model, _size(options.size, model.dims, model.multiple))


def program_of(model: Model, size: tuple[int, ...]) -> Program:
    """The program of a model that fuses CT and MR, for one size; guidance must be off."""
    axes = ("batch", "channel", *(("row", "column") if model.dims == 2 else ("slice", "row", "column")))
    body = f"over voxels with CT above {SLICE_HU[0]:g} HU and MR above 0, of the whole volume"
    inputs = [
        Port("ct", axes, (1, *size), "HU", (-1000.0, 1500.0), "CT"),
        Port("mr", axes, (1, *size), "as stored", (0.0, 1000.0), "MR, registered to the CT and on its grid"),
    ]
    if model.seen_as.mr_zscore:
        inputs += [
            Port("mr_mean", ("batch",), (), "as stored", (300.0, 500.0), f"mean of MR {body}"),
            Port("mr_deviation", ("batch",), (), "as stored", (100.0, 300.0), f"standard deviation of MR {body}"),
        ]
    else:
        inputs.append(
            Port(
                "mr_reference",
                ("batch",),
                (),
                "as stored",
                (700.0, 1000.0),
                f"{MR_PERCENTILE:g}th percentile of MR {body}",
            )
        )
    facts: dict[str, Any] = {
        "images": "ct and mr",
        "normalisation": model.seen_as.name,
        "dims": model.dims,
        "multiple": model.multiple,
        "sampler": model.sampler,
    }
    before = [
        "bring MR onto the grid of the CT (they must be registered)",
        f"take the statistics of MR {body}",
        f"pad at the end of each axis to {' x '.join(map(str, size))}: CT with -1000 HU, MR with 0",
    ]
    if model.sampler == "ddim":
        inputs.append(Port("noise", axes, (1, *size), "1", (-4.0, 4.0), "noise of the sampler", normal=True))
        before.append("draw the noise from a standard normal distribution")
        facts["sampling"] = {"steps": model.process.sampling_steps, **model.process.contract()}
    return Program(
        "fusion",
        FusedStudy(model),
        tuple(inputs),
        (Port("fused", axes, (1, *size), "1", (0.0, 1.0), "fused image"),),
        tuple(before),
        ("cut the padding off",),
        facts,
        ("traindx predict with --guidance or several --samples does more than one call of this program",),
    )
