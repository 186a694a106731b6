"""Pictures of an explanation: concept maps over the image with boxes, and patches side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traindx.recipes.concepts.boxes import Boxes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from traindx.recipes.concepts.explanation import LooksLike

CONTEXT = 1
"""Cells on each side of a patch that are shown with it at least."""

SURROUNDINGS = 0.18
"""Share of the image on each side of the patch's centre that is shown with it."""


def draw_maps(
    image: NDArray[np.floating], maps: NDArray[np.floating], names: Sequence[str], boxes: Boxes | None = None
) -> Any:
    """The image and each concept's map over it, with the boxes of the concept where they are known.

    Args:
        image: ``(S, S)`` or ``(S, S, 3)`` in [0, 1].
        maps: Probabilities ``(K, h, w)``.
        names: Names of the concepts.
        boxes: ``(n, 5)``.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    size = image.shape[0]
    figure = Figure(figsize=(3.2 * (1 + len(names)), 3.5), layout="constrained")
    panels = figure.subplots(1, 1 + len(names))
    for number, panel in enumerate(panels):
        _grey(panel, image)
        if number:
            one = maps[number - 1]
            panel.imshow(
                one, cmap="inferno", alpha=0.5, vmin=0, vmax=1, extent=(0, size, size, 0), interpolation="bilinear"
            )
            row, column = np.unravel_index(int(np.argmax(one)), one.shape)
            cell = size / one.shape[0]
            panel.plot((column + 0.5) * cell, (row + 0.5) * cell, "+", color="white", markersize=12)
        panel.set_title("image" if not number else names[number - 1], fontsize=9)
        for concept, x0, y0, x1, y1 in boxes if boxes is not None else ():
            if number in (0, int(concept) + 1):
                corner, width, height = (x0 * size, y0 * size), (x1 - x0) * size, (y1 - y0) * size
                panel.add_patch(
                    Rectangle(corner, width, height, fill=False, edgecolor=f"C{int(concept)}", linewidth=1.5)
                )
        panel.set_xlim(0, size)
        panel.set_ylim(size, 0)
    return figure


def draw_looks(
    image: NDArray[np.floating],
    looks: Sequence[LooksLike],
    gallery: Mapping[str, NDArray[np.floating]],
    names: Sequence[str],
    cells: int,
) -> Any:
    """Looks like this patch of that case: for each concept a patch of this image beside one of training.

    Both are shown whole with the patch framed, and between them the two patches with their surroundings.

    Args:
        image: ``(S, S)`` or ``(S, S, 3)`` in [0, 1].
        looks: Patches.
        gallery: Training images by name, shaped like ``image``.
        names: Names of the concepts.
        cells: Cells along a side of the map.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 2.6 * max(1, len(looks))), layout="constrained")
    panels = np.atleast_2d(figure.subplots(max(1, len(looks)), 4))
    for row, look in zip(panels, looks, strict=False):
        _patch(row[0], image, look.row, look.column, cells, whole=True)
        row[0].set_title(names[look.concept], fontsize=9)
        _patch(row[1], image, look.row, look.column, cells)
        row[1].set_title(f"this patch (cosine {look.similarity:.2f})", fontsize=9)
        for panel, whole in ((row[2], False), (row[3], True)):
            if look.that is not None and look.that.image in gallery:
                _patch(panel, gallery[look.that.image], look.that.row, look.that.column, cells, whole=whole)
                panel.set_title(f"of {look.that.image}" if whole else "looks like this one", fontsize=9)
            else:
                panel.set_axis_off()
    return figure


def _grey(panel: Axes, image: NDArray[np.floating]) -> None:
    size = image.shape[0]
    panel.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(0, size, size, 0))
    panel.set_axis_off()


def _patch(panel: Axes, image: NDArray[np.floating], row: int, column: int, cells: int, *, whole: bool = False) -> None:
    """A patch with its surroundings, or in the whole image, framed."""
    from matplotlib.patches import Rectangle

    size = image.shape[0]
    cell = size / cells
    _grey(panel, image)
    around = size if whole else max(0.5 + CONTEXT, SURROUNDINGS * cells) * cell
    x, y = (column + 0.5) * cell, (row + 0.5) * cell
    panel.add_patch(Rectangle((column * cell, row * cell), cell, cell, fill=False, edgecolor="yellow", linewidth=1.5))
    panel.set_xlim(max(0, x - around), min(size, x + around))
    panel.set_ylim(min(size, y + around), max(0, y - around))


def encoded(figure: Any) -> str:
    """A figure as base64 of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return base64.b64encode(buffer.getvalue()).decode()
