"""Masks: run lengths, one-hot codes, largest components, holes, boundaries and distances."""

from __future__ import annotations

import re
from typing import Any

from traindx.watch.probes.functions.common import as_tensor, words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.forms import draws, learns, mask_like

LEAST = 24  # pixels of a side


class Mask:
    """The only array of a call, as a picture or a volume with squares in it."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.name = trial.only()
        self.given = trial.arrays[self.name]
        numbers = self.given.double()
        trial.require(not learns(trial) and not draws(trial) and not self.given.dtype.is_complex)
        trial.require(bool((numbers == numbers.round()).all()))
        long = [axis for axis in range(self.given.dim()) if self.given.shape[axis] > 1]
        trial.require(len(long) in (2, 3) and all(self.given.shape[axis] >= LEAST for axis in long[-2:]))
        self.axes = long[-2:]
        self.deep = long[:-2]
        trial.require(not self.deep or self.given.shape[self.deep[0]] >= 8)

    def blank(self) -> Any:
        """A mask of nothing."""
        return self.trial.torch.zeros(self.given.shape)

    def square(self, mask: Any, top: int, left: int, side: int, value: float = 1.0) -> Any:
        """Draw a square into a mask; through all of a volume's middle."""
        where: list[slice] = [slice(None)] * mask.dim()
        where[self.axes[0]] = slice(top, top + side)
        where[self.axes[1]] = slice(left, left + side)
        for axis in self.deep:
            where[axis] = slice(2, mask.shape[axis] - 2)
        mask[tuple(where)] = value
        return mask

    def at(self, made: Any, row: int, column: int) -> float:
        """A number of a result of the same shape (or without axes of length 1)."""
        plane = made.double()
        if plane.shape != self.given.shape:
            self.trial.require(plane.numel() == self.given.numel())
            plane = plane.reshape(self.given.shape)
        index: list[int] = [0] * plane.dim()
        index[self.axes[0]], index[self.axes[1]] = row, column
        for axis in self.deep:
            index[axis] = plane.shape[axis] // 2
        return float(plane[tuple(index)])

    def of(self, mask: Any) -> Any:
        """What the function makes of a mask."""
        made = self.trial.again(**{self.name: mask_like(self.trial, mask, self.given)})
        if isinstance(made, tuple | list) and made:
            made = made[0]
        found = as_tensor(self.trial.torch, made)
        self.trial.require(found is not None and found.numel() == self.given.numel())
        return found


@entry(
    "largest-component-is-kept",
    "data",
    "largest component of a mask",
    "keeps the largest of several parts, wherever it lies, and nothing else",
    names={
        "largestcomponent", "largestconnectedcomponent", "keeplargest", "keeplargestcomponent", "getlargestcc",
        "keeplargestconnectedcomponent", "largestcc", "getlargestcomponent", "keeplargestcc",
        "getlargestconnectedcomponent", "keeplargestregion", "largestregion", "keeplargestobject",
        "selectlargestcomponent", "extractlargestcomponent", "keeplargestconnectedcomponents",
        "largestconnectedcomponents", "getlargestregion", "maxconnectedcomponent",
    },
    unless={"k", "index", "indices", "size", "area", "label", "remove", "box", "bbox", "fraction", "graph", "tree"},
    remedy="label(mask); counts of the labels without the background; the label with the most.",
    source="scipy.ndimage.label",
)  # fmt: skip
def largest_component(trial: Trial) -> None:
    """One mask (H, W) or (D, H, W)."""
    mask = Mask(trial)
    for name, value in trial.numbers.items():
        if {"k", "n", "num", "components", "min", "size", "threshold", "count", "keep"} & set(words(name)):
            trial.require(value in (0, 1))
    size = min(mask.given.shape[axis] for axis in mask.axes)
    places = {"first": ((1, 1, 10), (size - 6, size - 6, 4)), "last": ((size - 12, size - 12, 10), (2, 2, 4))}
    for order, (large, small) in places.items():
        whole = mask.square(mask.square(mask.blank(), *large), *small)
        made = mask.of(whole)
        kept = mask.at(made, large[0] + 5, large[1] + 5) != 0
        other = mask.at(made, small[0] + 1, small[1] + 1) != 0
        outside = mask.at(made, size // 2 + 3, 1) != 0
        asked = f"a square of 10 pixels, {order} of two, and one of 4"
        got = "the background was kept" if outside else f"the larger was {'kept' if kept else 'dropped'}"
        trial.expect(kept and not other and not outside, asked, got + (", the smaller was kept" if other else ""))


@entry(
    "holes-are-filled",
    "data",
    "filling of holes",
    "makes foreground of a hole, and changes nothing outside",
    names={
        "fillholes", "fillhole", "binaryfillholes", "fillmaskholes", "maskfillholes", "fillholesinmask",
        "holefilling",
    },
    unless={"area", "remove", "small", "depth", "image", "inpaint", "value"},
    remedy="scipy.ndimage.binary_fill_holes.",
    source="scipy.ndimage.binary_fill_holes",
)  # fmt: skip
def holes(trial: Trial) -> None:
    """One mask (H, W) or (D, H, W), where a hole goes through no face."""
    mask = Mask(trial)
    ring = mask.square(mask.square(mask.blank(), 5, 5, 12), 10, 10, 2, 0.0)
    for axis in mask.deep:
        for end in (2, 3, mask.given.shape[axis] - 4, mask.given.shape[axis] - 3):
            where: list[Any] = [slice(None)] * ring.dim()
            where[axis] = end
            where[mask.axes[0]] = where[mask.axes[1]] = slice(5, 17)
            ring[tuple(where)] = 1
    made = mask.of(ring)
    hole, wall, outside = mask.at(made, 10, 10), mask.at(made, 6, 6), mask.at(made, 1, 1)
    trial.expect(hole != 0 and wall != 0, "a square with a hole of 2 x 2 pixels", "the hole is still there")
    trial.expect(outside == 0, "a square with a hole", "what lies outside became foreground")


@entry(
    "signs-of-a-distance",
    "loss",
    "signed distance to a boundary",
    "has one sign inside of a mask and the other outside, and grows away from the boundary",
    names={
        "signeddistance", "signeddistancemap", "signeddistancetransform", "sdf", "computesdf", "onehot2dist",
        "signeddistancefunction", "signeddistancefield", "computesdm", "masktosdf", "mask2sdf", "getsdf", "sdm",
        "computesdf1", "onehot2sdf", "sdfmap", "computesignedistance", "masktosdm", "calcdistmap", "mask2sdm",
    },
    unless={"loss", "ce", "network", "decoder", "mesh", "points", "ray", "render", "batch"},
    remedy="edt(mask) - edt(1 - mask), or the other way round.",
    source="Kervadec et al., Boundary loss, 2019",
)  # fmt: skip
def signed_distance(trial: Trial) -> None:
    """One mask (H, W) or (D, H, W); any unit, either sign."""
    mask = Mask(trial)
    size = min(mask.given.shape[axis] for axis in mask.axes)
    made = mask.of(mask.square(mask.blank(), 6, 6, 12))
    trial.require(made.dtype.is_floating_point or float(made.double().abs().max()) > 1)
    deep, shallow = mask.at(made, 11, 11), mask.at(made, 8, 11)
    near, far = mask.at(made, 3, 11), mask.at(made, size - 1, size - 1)
    shown = f"{deep:.3g} in its middle and {far:.3g} in a corner came out"
    trial.expect(deep * far < 0, "a square of 12 pixels", shown)
    trial.expect(
        abs(deep) > abs(shallow) and (bool(mask.deep) or abs(far) > abs(near)),
        "a square of 12 pixels",
        f"{shallow:.3g} three pixels inside and {deep:.3g} in the middle came out",
    )


@entry(
    "boundary-of-a-mask",
    "data",
    "boundary of a mask",
    "is 0 in the middle of a square and far outside, and something along its border",
    names={
        "getboundary", "masktoboundary", "mask2boundary", "extractboundary", "maskboundary", "boundarymap", "getedge",
        "getedges", "maskedge", "maskedges", "extractcontour", "getcontour", "masktoedge", "mask2edge", "edgemap",
        "boundarymask", "getboundarymask", "maskcontour", "edgefrommask", "boundaryfrommask", "onehottobinaryedges",
        "masktocontour", "extractedges", "findboundary", "labeltoboundary",
    },
    unless={"loss", "iou", "points", "box", "distance", "polygon", "coordinates", "image", "weight", "distmap"},
    remedy="mask ^ erosion(mask).",
    source="Cheng et al., Boundary IoU, 2021",
)  # fmt: skip
def boundary(trial: Trial) -> None:
    """One mask (H, W) or (D, H, W)."""
    mask = Mask(trial)
    size = min(mask.given.shape[axis] for axis in mask.axes)
    trial.require(size >= 32)
    made = mask.of(mask.square(mask.blank(), 5, 5, 18))
    middle, far = mask.at(made, 14, 14), mask.at(made, size - 1, size - 1)
    along = max(abs(mask.at(made, row, 14)) for row in range(2, 8))
    trial.expect(
        middle == 0 and far == 0 and along != 0,
        "a square of 18 pixels",
        f"{middle:.3g} in the middle, {along:.3g} along its border and {far:.3g} in a corner came out",
    )


@entry(
    "one-hot-code",
    "data",
    "one-hot code",
    "gives each label a code of its own with a single 1, at the place of the label",
    names={
        "onehot", "toonehot", "onehotencode", "makeonehot", "labelstoonehot", "onehotencoder", "labeltoonehot",
        "masktoonehot", "mask2onehot", "convertonehot", "getonehot", "onehotencoding", "label2onehot", "class2onehot",
        "converttoonehot", "onehotmask", "onehotembedding", "onehotlabels", "totonehot", "segtoonehot",
    },
    unless={
        "argmax", "from", "decode", "inverse", "loss", "smooth", "smoothing", "soft", "gumbel", "dna", "rgb", "color",
        "residue", "atom", "seq", "sequence", "dist", "edges", "argmin", "categorical", "sample", "or", "edge",
    },
    remedy="torch.nn.functional.one_hot(labels, classes), then the new axis moved (and not reshaped) to its place.",
    source="torch.nn.functional.one_hot",
)  # fmt: skip
def one_hot(trial: Trial) -> None:
    """One array of whole numbers; the classes stand along any axis of what it gives."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name]
    numbers = given.double()
    trial.require(bool((numbers == numbers.round()).all()) and float(numbers.min()) >= 0 and not draws(trial))
    values = [int(one) for one in numbers.unique()]
    trial.require(2 <= len(values) <= 64 and values[-1] < 64)
    order = torch.randperm(given.numel(), generator=trial.generator())
    labels = numbers.reshape(-1)[order].reshape(given.shape)
    made = trial.tensor(**{name: labels}).double()
    trial.require(made.numel() > given.numel() and made.numel() % given.numel() == 0)
    classes = made.numel() // given.numel()
    wanted = labels.reshape(-1).long()
    compact = [size for size in given.shape if size > 1]
    shapes = []
    for axis in range(made.dim()):
        if made.shape[axis] == classes:
            codes = made.movedim(axis, -1)
            left = [size for size in codes.shape[:-1] if size > 1]
            if left == compact:
                shapes.append(codes.reshape(-1, classes))
    trial.require(bool(shapes))
    trial.require(all(float(codes.max()) > 0.5 for codes in shapes) and float(made.min()) >= 0)
    fits = any(_is_code(codes, wanted, classes, values) for codes in shapes)
    asked = f"labels {', '.join(str(one) for one in values[:6])} in no order"
    single = any(bool(((codes > 0.5).sum(-1) == 1).all()) for codes in shapes)
    shifted = values[-1] >= classes
    trial.require(not shifted or single)
    got = (
        "equal labels do not have equal codes with a single 1" if not single else "codes do not stand for their labels"
    )
    trial.expect(fits, asked, got)


def _is_code(codes: Any, wanted: Any, classes: int, values: list[int]) -> bool:
    """One 1 each; at the label's place, or at one of its own where labels are numbered otherwise (as 0, 1, 2, 4)."""
    if not bool(((codes > 0.5).sum(-1) == 1).all()):
        return False
    places = codes.argmax(-1)
    if bool((places == wanted).all()):
        return True
    if values[-1] < classes and values == list(range(len(values))) and len(values) == classes:
        return False
    found = [set(places[wanted == value].tolist()) for value in values]
    return all(len(one) == 1 for one in found) and len(set().union(*found)) == len(values)


@entry(
    "lengths-of-runs",
    "data",
    "run-length code of a mask",
    "has runs as long together as the mask has pixels",
    names={
        "rleencode", "rleencoding", "mask2rle", "masktorle", "encoderle", "binarymasktorle", "rletostring",
        "rlefrommask",
    },
    unless={"coco", "decode", "compressed", "from", "string2"},
    remedy="Starts and lengths where the padded, flattened mask changes.",
    source="Kaggle, Data Science Bowl 2018, submission format",
)  # fmt: skip
def runs(trial: Trial) -> None:
    """One mask (H, W); gives starts and lengths in turn, as a string or a list, or all lengths by turns."""
    mask = Mask(trial)
    trial.require(mask.given.dim() == 2)
    blank = mask.square(mask.square(mask.blank(), 3, 3, 5), 12, 10, 6)
    corner = blank.clone()
    corner[-1, -3:] = corner[0, :2] = 1
    for one, asked in ((blank, "a mask of two squares"), (corner, "a mask that reaches two corners of the image")):
        made = trial.again(**{mask.name: mask_like(trial, one, mask.given)})
        if isinstance(made, dict):
            made = made.get("counts")
        if isinstance(made, str):
            trial.require(re.fullmatch(r"[\d\s,]*", made) is not None)
            made = [int(number) for number in re.findall(r"\d+", made)]
        trial.require(
            isinstance(made, list) and all(isinstance(number, int) or hasattr(number, "item") for number in made)
        )
        found = [int(number) for number in made]
        area, total = int(one.sum()), one.numel()
        if sum(found) == total:
            return
        lengths = sum(found[1::2])
        trial.expect(lengths == area, asked, f"its runs are {lengths} pixels long together, and it has {area}")
        starts = [(start, start + length) for start, length in zip(found[::2], found[1::2], strict=True)]
        inside = all(start >= 0 and end <= total + 1 for start, end in starts)
        trial.expect(inside, asked, "a run ends beyond the image")


@entry(
    "mask-of-runs",
    "data",
    "mask of a run-length code",
    "has as many pixels as its runs are long together, within the shape that is asked for",
    names={"rledecode", "rle2mask", "rletomask", "decoderle", "maskfromrle", "rledecoding"},
    unless={"coco", "encode", "compressed"},
    remedy="mask[start - 1 : start - 1 + length] = 1 for each run, then reshape.",
    source="Kaggle, Data Science Bowl 2018, submission format",
)
def mask_of_runs(trial: Trial) -> None:
    """A string of starts and lengths."""
    found = [name for name, value in trial.call.args.items() if isinstance(value, str) and re.match(r"\d+ \d+", value)]
    trial.require(len(found) == 1)
    made = trial.tensor(**{found[0]: "2 3 20 10 41 1"})
    trial.require(made.numel() >= 64)
    count = int((made != 0).sum())
    trial.expect(count == 14, "runs of 3, 10 and 1 pixels", f"the mask has {count}")
