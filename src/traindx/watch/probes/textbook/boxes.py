"""Boxes: their other forms, their area, where the image ends, and the box around a mask."""

from __future__ import annotations

import re
from typing import Any

from traindx.watch.probes.functions.common import words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.forms import arguments, draws, mask_like, result

PIXELS, PART = 10.0, 0.01
CORNERS = {"xyxy", "corner", "corners", "x1y1x2y2", "ltrb", "tlbr", "xyxys", "voc", "minmax"}
CENTRES = {"cxcywh", "cxywh", "ccwh", "xcycwh", "cwh", "center", "centers", "centre", "centersize"}
SIZED = {"xywh", "coco", "tlwh", "xywhs"}


def _forms(name: str) -> tuple[str, str] | None:
    """From which form to which other a function's name says that boxes are turned."""
    low = re.sub(r"(?<=[a-z])2(?=[a-z])", "_to_", name.lower())
    parts = low.split("_to_")
    if len(parts) != 2:
        return None
    found = []
    for part in parts:
        known = set(re.split(r"[_\W]+", part))
        if known & CORNERS:
            found.append("corners")
        elif known & CENTRES:
            found.append("centre")
        elif known & SIZED:
            found.append("sized")
        else:
            return None
    return found[0], found[1]


@entry(
    "box-form",
    "data",
    "conversion of boxes",
    "gives the corners x1, y1, x2, y2 of a centre (or a corner) and a size, or the other way round",
    names={
        "xyxy", "cxcywh", "xywh", "xywh2xyxy", "xyxy2xywh", "cxcywh2xyxy", "xyxy2cxcywh", "xywhtoxyxy", "xyxytoxywh",
        "centertocorner", "centertocorners", "cornertocenter", "cornerstocenter", "center2corner", "corner2center",
        "corners2center", "center2corners", "xyxy2cxywh", "cxywh2xyxy", "tlwh2xyxy", "corner2centre",
    },
    unless={"n", "norm", "normalize", "normalized", "rotated", "obb", "polygon", "iou", "giou", "nms"},
    universal=True,
    remedy="x1 = cx - w / 2, x2 = cx + w / 2; cx = (x1 + x2) / 2, w = x2 - x1; y alike.",
    source="torchvision.ops.box_convert",
)  # fmt: skip
def box_form(trial: Trial) -> None:
    """One argument whose last axis has four entries, turned from one form to another by name."""
    torch = trial.torch
    forms = _forms(trial.call.name)
    known = arguments(trial)
    trial.require(forms is not None and len(known) == 1 and forms[0] != forms[1])
    assert forms is not None
    trial.require(all(abs(value) <= 1 for value in trial.numbers.values()))  # no size of the image
    name, given = next(iter(known.items()))
    trial.require(given.shape[-1] == 4 and given.dim() <= 3)
    part = float(given.double().abs().max()) <= 1.5 and given.dtype.is_floating_point
    unit = PART if part else PIXELS
    corners, centre, corner = (8.0, 17.0, 12.0, 23.0), (10.0, 20.0, 4.0, 6.0), (8.0, 17.0, 4.0, 6.0)
    if forms[0] == "corners":
        cases = [(corners, [centre, corner] if forms[1] == "sized" else [centre])]
    elif forms[0] == "centre":
        cases = [(centre, [corners] if forms[1] == "corners" else [corner])]
    elif forms[1] == "corners":  # four numbers that some call xywh begin with a centre
        cases = [(centre, [corners, (10.0, 20.0, 14.0, 26.0)])]
    else:
        cases = [(corner, [centre])]
    for box, expected in cases:
        row = torch.tensor(box, dtype=torch.float64) * unit
        made = result(trial, **{name: row.expand(*given.shape).clone()}).double()
        trial.require(made.shape == given.shape)
        first = made.reshape(-1, 4)
        near = [
            bool(((first - torch.tensor(one, dtype=torch.float64) * unit).abs() <= _inclusive(unit)).all())
            for one in expected
        ]
        shown = ", ".join(f"{value:.4g}" for value in first[0].tolist())
        wanted = ", ".join(f"{value * unit:.4g}" for value in expected[0])
        asked = ", ".join(f"{value * unit:.4g}" for value in box)
        trial.expect(any(near), f"the box {asked}", f"{shown} came out and not {wanted}")


def _inclusive(unit: float) -> float:
    """What a last pixel that is counted (or not) may change."""
    return 1.01 if unit == PIXELS else 1e-3


@entry(
    "box-area",
    "data",
    "area of boxes",
    "is width times height",
    names={"boxarea", "bboxarea", "boxesarea", "areaofbox", "areaofboxes", "boxareas", "areaof", "getboxarea"},
    unless={"ratio", "filter", "min", "small", "iou", "anchor", "mask"},
    universal=True,
    remedy="(x2 - x1) * (y2 - y1).",
    source="torchvision.ops.box_area",
)
def box_area(trial: Trial) -> None:
    """One argument whose last axis has four entries; two corners, or a corner or a centre and a size."""
    torch = trial.torch
    known = arguments(trial)
    trial.require(len(known) == 1)
    name, given = next(iter(known.items()))
    trial.require(given.shape[-1] == 4 and given.dim() <= 3)
    box = torch.tensor([10.0, 20.0, 40.0, 80.0], dtype=torch.float64)
    made = result(trial, **{name: box.expand(*given.shape).clone()}).double()
    trial.require(made.numel() == given.numel() // 4)
    fits = any(bool(((made - area).abs() < 0.5).all()) for area in (30 * 60, 31 * 61, 40 * 80))
    trial.expect(fits, "the box 10, 20, 40, 80", f"{float(made.reshape(-1)[0]):.5g} came out and not 1800")


@entry(
    "boxes-within-the-image",
    "data",
    "clipping of boxes",
    "leaves a box inside the image as it is, and brings one that goes beyond to its edges",
    names={
        "clipboxes", "clipbox", "clipboxestoimage", "clipbboxes", "clampboxes", "clipboxtoimage", "clampbox",
        "clipbbox", "clampbbox", "clampbboxes",
    },
    unless={"rotated", "polygon", "graph", "delta", "deltas"},
    universal=True,
    remedy="x.clamp(0, width), y.clamp(0, height).",
    source="torchvision.ops.clip_boxes_to_image",
)  # fmt: skip
def boxes_within_the_image(trial: Trial) -> None:
    """Boxes as corners, and the size of the image as a tuple of two or three."""
    torch = trial.torch
    known = arguments(trial)
    fours = [name for name, one in known.items() if one.shape[-1] == 4 and one.dim() <= 2]
    sizes = [name for name, one in known.items() if one.dim() == 1 and one.numel() in (2, 3)]
    trial.require(len(fours) == 1 and len(sizes) == 1 and len(known) == 2)
    box, (height, width) = fours[0], (float(one) for one in known[sizes[0]][:2])
    trial.require(min(height, width) >= 8)
    given = known[box]

    def clipped(*corners: float) -> Any:
        row = torch.tensor(corners, dtype=torch.float64)
        made = result(trial, **{box: row.expand(*given.shape).clone()}).double()
        trial.require(made.shape == given.shape)
        return made.reshape(-1, 4)[0]

    low = min(height, width)
    within = [2.0, 3.0, low - 3, low - 2]
    kept = clipped(*within)
    shown = ", ".join(f"{value:.4g}" for value in kept.tolist())
    trial.expect(
        bool((kept - torch.tensor(within)).abs().max() < 1e-3), "a box inside of the image", f"it became {shown}"
    )
    cut = clipped(-50.0, -60.0, 4 * height + width, 4 * height + width + 1)
    shown = ", ".join(f"{value:.4g}" for value in cut.tolist())
    ends = sorted(cut[2:].tolist())
    fits = bool((cut[:2].abs() < 1.5).all()) and all(
        abs(one - other) < 1.5 for one, other in zip(ends, sorted((height, width)), strict=True)
    )
    trial.expect(fits, f"a box beyond an image of {height:g} x {width:g} on every side", f"it became {shown}")
    if "shape" in words(sizes[0]) and {"x1y1x2y2", "xyxy"} & _documented(trial) and height != width:
        trial.expect(bool((cut[2] - width).abs() < 1.5), f"an image {width:g} wide", f"x went to {float(cut[2]):g}")


def _documented(trial: Trial) -> set[str]:
    """Orders of coordinates that the name or the docstring of a function says."""
    text = f"{trial.call.name} {trial.call.function.__doc__ or ''}".lower()
    known = re.sub(r"[\s,_\[\]()]+", "", text)
    return {one for one in ("x1y1x2y2", "xyxy", "xminyminxmaxymax", "x0y0x1y1") if one in known}


@entry(
    "box-around-a-mask",
    "data",
    "box around a mask",
    "gives where the mask begins and ends along each axis",
    names={
        "masktobox", "maskstoboxes", "mask2box", "masks2boxes", "masktobbox", "masktobboxes", "mask2bbox", "maskbbox",
        "maskbox", "boxfrommask", "bboxfrommask", "boxesfrommasks", "bboxesfrommasks", "extractbboxes",
        "boundingboxfrommask", "masktoboundingbox", "getbboxfrommask", "maskstobboxes", "bboxesfrommask",
    },
    unless={"random", "perturb", "jitter", "prompt", "rotated", "center", "3d", "iou", "crop"},
    universal=False,
    remedy="ys, xs = mask.nonzero(); xs.min(), ys.min(), xs.max(), ys.max().",
    source="torchvision.ops.masks_to_boxes",
)  # fmt: skip
def box_around_a_mask(trial: Trial) -> None:
    """One mask (H, W), or several along one leading (or, in arrays, last) axis; gives four numbers each."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name]
    trial.require(given.dim() in (2, 3) and not draws(trial))
    trial.require(all(value in {0, 1} for value in trial.numbers.values()))  # no margin
    last = given.dim() == 3 and given.shape[2] < min(given.shape[:2])
    height, width = given.shape[:2] if last or given.dim() == 2 else given.shape[1:]
    trial.require(min(height, width) >= 16)
    top, bottom, left, right = 2, height // 2, height // 2 + 2, height // 2 + 5
    trial.require(right < width)
    mask = torch.zeros(height, width)
    mask[top : bottom + 1, left : right + 1] = 1
    whole = mask[..., None] if last else mask
    made = result(trial, **{name: mask_like(trial, whole.expand(*given.shape), given).clone()}).double()
    trial.require(made.numel() % 4 == 0 and made.shape[-1] == 4)
    x1, y1, x2, y2 = (float(one) for one in (left, top, right, bottom))
    w, h = x2 - x1, y2 - y1
    orders = {
        "x": [(x1, y1, x2, y2), (x1, y1, w, h), ((x1 + x2) / 2, (y1 + y2) / 2, w, h), (x1, x2, y1, y2)],
        "y": [(y1, x1, y2, x2), (y1, x1, h, w), (y1, y2, x1, x2)],
    }
    for unit in ((1.0, 1.0, 1.0, 1.0), (1 / width, 1 / height, 1 / width, 1 / height)):
        fits = {key for key, known in orders.items() for one in known if _near(torch, made, one, unit)}
        if fits:
            break
    shown = ", ".join(f"{value:.4g}" for value in made.reshape(-1, 4)[0].tolist())
    asked = f"a mask from row {top} to {bottom} and from column {left} to {right}"
    trial.expect(bool(fits), asked, f"{shown} came out")
    if fits == {"y"} and _documented(trial):
        trial.expect(False, asked, f"{shown} came out, though x is said to come first")


def _near(torch: Any, made: Any, known: tuple[float, ...], unit: tuple[float, ...]) -> bool:
    scale = torch.tensor(unit, dtype=torch.float64)
    expected = torch.tensor(known, dtype=torch.float64) * scale
    return bool(((made.reshape(-1, 4) - expected).abs() <= 1.01 * scale).all())


@entry(
    "boxes-flipped",
    "data",
    "flip of boxes",
    "leaves the first corner before the second, and gives the boxes back when it is done twice",
    names={"flipboxes", "flipbox", "hflipboxes", "flipbbox", "flipbboxes", "vflipboxes", "bboxflip", "boxflip",
           "horizontalflipboxes", "bboxhflip", "bboxvflip", "hflipbbox", "hflipbboxes", "boxhflip"},
    unless={"random", "rand", "transpose"},
    universal=False,
    remedy="x1, x2 = width - x2, width - x1.",
    source="torchvision.transforms.v2.functional.horizontal_flip_bounding_boxes",
)  # fmt: skip
def boxes_flipped(trial: Trial) -> None:
    """Boxes as corners (N, 4) and the width (or a size) of the image."""
    known = arguments(trial)
    fours = [name for name, one in known.items() if one.shape[-1] == 4 and one.dim() <= 2]
    trial.require(len(fours) == 1 and not draws(trial))
    box, given = fours[0], known[fours[0]].double()
    rows = given.reshape(-1, 4)
    trial.require(bool((rows[:, 2] > rows[:, 0]).all() and (rows[:, 3] > rows[:, 1]).all()))
    made = result(trial, **{box: given}).double()
    trial.require(made.shape == given.shape)
    changed = made.reshape(-1, 4)
    sizes = (changed[:, 2:] - changed[:, :2], rows[:, 2:] - rows[:, :2])
    trial.require(bool((sizes[0].abs() - sizes[1]).abs().max() < 0.02 * sizes[1].max()))  # corners, and no sizes
    trial.expect(
        bool((sizes[0] > 0).all()), "boxes whose first corner is the upper left one", "the corners changed places"
    )
    twice = result(trial, **{box: made}).double()
    off = float((twice - given).abs().max())
    trial.expect(
        off <= 1e-3 * float(given.abs().max() + 1), "boxes that are flipped twice", f"they are off by {off:.3g}"
    )
