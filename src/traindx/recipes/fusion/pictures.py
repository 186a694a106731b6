"""Pictures: MR, CT and fused side by side, and regions drawn on them.

Image and mask of a panel are taken through one function, so they cannot be turned differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

OUTLINES: Mapping[str, str] = {"bone": "#4fc3f7", "lesion": "#ff5252"}


def plane(image: Tensor, enlarge: int = 1, mask: bool = False) -> Any:
    """The middle slice of an image or mask as an array for display.

    Args:
        image: Shape ``(1, H, W)`` or ``(1, D, H, W)``.
        enlarge: Pixels of the picture for one of the image; bicubic for images, nearest for masks.
        mask: True for a mask.
    """
    flat = image if image.dim() == 3 else image[:, image.shape[1] // 2]
    shown = flat[None].float().cpu()
    if enlarge > 1:
        size = [enlarge * side for side in shown.shape[-2:]]
        if mask:
            shown = F.interpolate(shown, size=size, mode="nearest")
        else:
            shown = F.interpolate(shown, size=size, mode="bicubic", align_corners=False).clamp(0, 1)
    return shown[0, 0].numpy()


def panels(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str] = ("MR", "CT", "fused"),
    caption: str = "",
    enlarge: int = 2,
) -> None:
    """Write a grid of grey pictures, one patient a row.

    Args:
        path: PNG.
        rows: For each row the images by column name on the display range, each ``(1, H, W)``, ``id`` where there is
            one, and masks by the names of :data:`OUTLINES`, drawn as outlines where the column says ``regions``.
        columns: Order of the columns; ``regions`` repeats the fused image with outlines.
        caption: Written below.
        enlarge: Pixels of the picture for one of the image.
    """
    from matplotlib.figure import Figure

    height, width = plane(rows[0][columns[0]]).shape
    scale = enlarge / 72
    figure = Figure(figsize=(len(columns) * width * scale, len(rows) * height * scale + 0.5), dpi=72)
    axes: Any = figure.subplots(len(rows), len(columns), squeeze=False)
    for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
        for cell, name in zip(line, columns, strict=True):
            image = row["fused" if name == "regions" else name]
            cell.imshow(plane(image, enlarge), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if name == "regions":
                for region, colour in OUTLINES.items():
                    if region in row and bool(row[region].any()):
                        outline = plane(row[region], enlarge, mask=True)
                        cell.contour(outline, levels=[0.5], colors=[colour], linewidths=0.8)
            if number == 0:
                cell.set_title(name, fontsize=10, color="white", pad=3)
            cell.axis("off")
        if "id" in row:
            line[0].text(3, 12, str(row["id"]), color="#bbbbbb", fontsize=8)
    figure.patch.set_facecolor("black")
    if caption:
        figure.text(0.5, 0.005, caption, color="#bbbbbb", fontsize=7, ha="center")
    low = 0.02 if caption else 0.0
    top = 1 - 0.35 / figure.get_size_inches()[1]
    figure.subplots_adjust(left=0, right=1, bottom=low, top=top, wspace=0.01, hspace=0.01)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="black")


def cropped(row: Mapping[str, Any], margin: int = 4) -> dict[str, Any]:
    """A row cut to a square around what is not air, so that small limbs are not lost in black."""
    shown = torch.stack([value for key, value in row.items() if key in ("MR", "CT", "fused")]).amax(0)[0]
    rows, columns = (torch.nonzero(shown.amax(axis) > 0.02).flatten() for axis in (1, 0))
    if not len(rows):
        return dict(row)
    side = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1 + 2 * margin
    side = min(side, *shown.shape)
    top, left = (
        int(min(max(0, (axis[0] + axis[-1]) // 2 - side // 2), limit - side))
        for axis, limit in zip((rows, columns), shown.shape, strict=True)
    )
    cut: dict[str, Any] = {}
    for key, value in row.items():
        cut[key] = value[..., top : top + side, left : left + side] if isinstance(value, Tensor) else value
    return cut


def uniform(rows: Sequence[Mapping[str, Any]], side: int) -> list[dict[str, Any]]:
    """Rows scaled to pictures of one side length, so that a grid has no gaps; masks stay masks."""
    made = []
    for row in rows:
        scaled: dict[str, Any] = {}
        for key, value in row.items():
            if not isinstance(value, Tensor):
                scaled[key] = value
            elif key in OUTLINES:
                scaled[key] = F.interpolate(value[None].float(), size=(side, side), mode="nearest")[0]
            else:
                bigger = F.interpolate(value[None], size=(side, side), mode="bicubic", align_corners=False)
                scaled[key] = bigger[0].clamp(0, 1)
        made.append(scaled)
    return made
