"""``traindx export concepts``: grey values of a radiograph to concepts, their maps, prototypes and the task."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from traindx.errors import UsageError
from traindx.recipes.concepts.contract import Learnt
from traindx.recipes.concepts.model import ConceptNetwork
from traindx.recipes.concepts.module import ConceptsModule, module_from
from traindx.recipes.concepts.pipeline import to_network
from traindx.recipes.kit import export as kit
from traindx.recipes.kit import options as kit_options
from traindx.recipes.kit.program import Port, Program
from traindx.recipes.kit.run_folder import checkpoint_in

_LEAST_PIXELS = 16  # as reading.read_radiograph
_PERCENTILES = (0.5, 99.5)  # as pipeline.normalise


class RadiographConcepts(nn.Module):
    """The path of ``traindx predict`` for images of one size: percentiles, resizing, network, probabilities.

    Resizing is linear and separable, so it is two matrices here, made for the size of the images.

    Args:
        network: The network.
        pixels: Rows and columns of the images.
        outputs: Which of ``concepts``, ``maps``, ``similarity`` and ``task`` are returned.
    """

    def __init__(self, network: ConceptNetwork, pixels: tuple[int, int], outputs: Sequence[str]) -> None:
        super().__init__()
        self.network, self.outputs = network, tuple(outputs)
        size = network.architecture.size
        rows, columns = (_resizing(count, pixels, size) for count in pixels)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns.T.contiguous())
        self.count = pixels[0] * pixels[1]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """``image`` ``(B, 1, H, W)``; bright is dense."""
        (image,) = inputs
        low, high = (self._percentile(image.flatten(1), share / 100) for share in _PERCENTILES)
        span = (high - low).clamp_min(1e-6)
        scaled = ((image - low[:, :, None, None]) / span[:, :, None, None]).clamp(0, 1)
        resized = self.get_buffer("rows") @ scaled @ self.get_buffer("columns")
        said = self.network(to_network(resized.clamp(0, 1)))
        made = {
            "concepts": said["concepts"].sigmoid(),
            "maps": said["maps"].sigmoid(),
            "similarity": said["similarity"],
            "task": said["task"].softmax(dim=1),
        }
        return tuple(made[name] for name in self.outputs)

    def _percentile(self, flat: Tensor, share: float) -> Tensor:
        """Linear interpolation between the two values around a rank, ``(B, 1)``; from the nearer end."""
        rank = share * (self.count - 1)
        below = int(rank)
        if share < 0.5:
            values = torch.topk(flat, min(below + 2, self.count), largest=False, sorted=True).values
            first, second = values[:, below : below + 1], values[:, -1:]
        else:
            values = torch.topk(flat, self.count - below, largest=True, sorted=True).values
            first, second = values[:, -1:], values[:, max(0, self.count - below - 2) : self.count - below - 1]
        return first + (rank - below) * (second - first)


def _resizing(count: int, pixels: tuple[int, int], size: int) -> Tensor:
    """What :func:`~traindx.recipes.concepts.reading.for_network` does along one axis, ``(size, count)``."""
    made = torch.eye(count, dtype=torch.float64)
    shorter = min(pixels)
    if pixels[0] != pixels[1]:
        side = max(size, shorter // size * size)
        made = (_area(count, side) if side < shorter else _linear(count, side, clamped=True)) @ made
    else:
        side = count
    factor = side // size
    if factor > 1:
        kept = side // factor
        mean = torch.zeros(kept, side, dtype=torch.float64)
        for row in range(kept):
            mean[row, row * factor : (row + 1) * factor] = 1 / factor
        made, side = mean @ made, kept
    if side != size:
        made = _linear(side, size, clamped=False) @ made
    return made.float()


def _area(count: int, wanted: int) -> Tensor:
    """Mean over the pixels that a new one touches, as ``F.interpolate(mode="area")``."""
    made = torch.zeros(wanted, count, dtype=torch.float64)
    for row in range(wanted):
        first, last = row * count // wanted, -(-(row + 1) * count // wanted)
        made[row, first:last] = 1 / (last - first)
    return made


def _linear(count: int, wanted: int, *, clamped: bool) -> Tensor:
    """Linear interpolation between pixel centres; beyond the outermost ones constant, or towards 0."""
    place = (torch.arange(wanted, dtype=torch.float64) + 0.5) * count / wanted - 0.5
    if clamped:
        place = place.clamp(0, count - 1)
    return (1 - (place[:, None] - torch.arange(count, dtype=torch.float64)).abs()).clamp_min(0)


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "concepts",
        "In: grey values of a radiograph in any scale, dense is bright, in one size that is fixed with --pixels. Out: "
        "probabilities of the concepts and their maps; similarities with the prototypes and probabilities of the task "
        "where these were trained. Percentiles, resizing and both activations are in the program. Not in it: reading "
        "files with their look-up tables, thresholds, and the pages of explanations.",
        "--pixels 512 512",
    )
    group = kit_options.model(made, device=False)
    group.add_argument(
        "--pixels",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="size of the images that go in (default: the size that the network sees)",
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: The size is too small.
        InputError: The checkpoint cannot be used.
    """
    options = parser().parse_args(list(argv))
    kit.check_possible(options, "concepts")
    if options.pixels is not None and min(options.pixels) < _LEAST_PIXELS:
        raise UsageError(
            f"--pixels {options.pixels[0]} {options.pixels[1]}", expected=f"{_LEAST_PIXELS} or more each way"
        )
    path = checkpoint_in(options.checkpoint)
    module, learnt = module_from(path)
    size = module.settings.architecture.size
    rows, columns = options.pixels or (size, size)
    return kit.write(program_of(module, learnt, (rows, columns)), options, [path])


def program_of(module: ConceptsModule, learnt: Learnt, pixels: tuple[int, int]) -> Program:
    """The program of a module for images of one size."""
    architecture = module.settings.architecture
    K, M, T = len(module.concepts), architecture.prototypes, len(module.classes)
    ports = {
        "concepts": Port("concepts", ("batch", "concept"), (K,), "1", (0.0, 1.0), "probability of each concept"),
        "maps": Port(
            "maps",
            ("batch", "concept", "row", "column"),
            (K, *architecture.map_size),
            "1",
            (0.0, 1.0),
            "probability of each concept at each place, over the whole image",
        ),
    }
    if "prototypes" in learnt.trained:
        ports["similarity"] = Port(
            "similarity",
            ("batch", "concept", "prototype"),
            (K, M),
            "1",
            (-1.0, 1.0),
            "largest cosine with each prototype",
        )
    if "task" in learnt.trained:
        ports["task"] = Port(
            "task", ("batch", "class"), (T,), "1", (0.0, 1.0), "probability of each class; they sum to 1"
        )
    return Program(
        "concepts",
        RadiographConcepts(module.network, pixels, tuple(ports)),
        (
            Port(
                "image",
                ("batch", "channel", "row", "column"),
                (1, *pixels),
                "grey values in any linear scale; each image is its own reference",
                (0.0, 4095.0),
                "radiograph, dense is bright; rows from superior to inferior",
            ),
        ),
        tuple(ports.values()),
        (
            "DICOM: apply the modality and the display (VOI) look-up tables; turn MONOCHROME1 over: min + max - value",
            "colour pictures: take the luminance",
            f"bring other sizes to {pixels[0]} x {pixels[1]} pixels, or export again with --pixels of your detector",
        ),
        ("a concept is present where its probability reaches its entry of facts.thresholds",),
        {
            "concepts": list(module.concepts),
            "classes": list(module.classes) if "task" in learnt.trained else [],
            "thresholds": list(learnt.thresholds or (0.5,) * K),
            "trained": list(learnt.trained),
            "percentiles": list(_PERCENTILES),
            "network_size": architecture.size,
        },
    )
