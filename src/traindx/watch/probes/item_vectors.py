"""Two frames and the motion between them: do the vectors of an item belong to its frames, after augmentation too?

Whether an array of two channels is the motion between two pictures, and how its vectors are written, shows in the
entries that a data set keeps: the second frame, fetched along the vectors, is the first one. The items that are made of
them must keep that. Where an item does not, and does with all its vectors turned, mirrored or scaled alike, the frames
were moved in another way than the vectors. In a child process only.
"""

from __future__ import annotations

import ast
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import VectorsTried
from traindx.finding import Location
from traindx.watch.probes.functions.common import as_tensor, parts_of
from traindx.watch.probes.item_spots import stores
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.making import seed
from traindx.watch.probes.recorded import RecordedCall, Recorder, returned_at
from traindx.watch.runtime.structure import known_length
from traindx.watch.runtime.syntax import walk

LEAST = 16  # pixels of a side
MOST = 96  # pixels of a side that are looked at
ENTRIES = 4
DRAWS = 12
SECONDS = 2.0  # of processor time
EXPLAINED = 0.4  # of the difference of the frames that is left where the vectors are right: interpolation and noise
APART = 0.6  # of it that is left where they are not
TURNS = tuple(range(0, 360, 12))
SCALES = (1.0, 0.5, 2.0)
MIRRORED, SCALED = 360.0, 0.5  # instead of a turn in degrees


@dataclass(frozen=True)
class Motion:
    """Two frames of shape ``(H, W)``, vectors of shape ``(2, H, W)``, and where these were among an item's parts."""

    first: Any
    second: Any
    vectors: Any
    path: str


Way = tuple[bool, int, bool, bool]
"""How vectors are written: rows first; sign; from the second frame; in halves of the image's size."""
WAYS: tuple[Way, ...] = tuple(
    (rows, sign, back, shares)
    for shares in (False, True)
    for back in (False, True)
    for rows in (False, True)
    for sign in (1, -1)
)


def vectors_tried(torch: Any, dataset: Any) -> Iterator[Record]:
    """A data set whose entries are two frames and the motion between them."""
    until = time.process_time() + SECONDS
    length = known_length(dataset) or 0
    if length < ENTRIES or not any(True for _ in motions(torch, dataset[0])):
        return
    way = _way(torch, dataset)
    if way is None:
        return
    draws = broken = 0
    turns: list[float] = []
    worst: tuple[int, int] | None = None
    for number in range(DRAWS):
        if time.process_time() > until:
            break
        index = number % min(ENTRIES, length)
        seed(torch, 400 + number)
        found = [_turned(torch, one, way) for one in motions(torch, dataset[index])]
        known = [one for one in found if one is not None]
        if not known:
            continue
        draws += 1
        if min(abs(turn) for turn in known) > 0:
            broken += 1
            turns.append(min(known, key=abs))
            worst = worst or (index, number)
    if draws < DRAWS // 3:
        return
    yield VectorsTried(
        dataset=type(dataset).__name__,
        draws=draws,
        broken=broken,
        turn=sorted(abs(turn) for turn in turns)[len(turns) // 2] if turns else 0.0,
        where=_line(torch, dataset, *worst, way) if worst is not None else None,
    )


def motions(torch: Any, value: Any) -> Iterator[Motion]:
    """Every way to read an item as two frames and vectors."""
    arrays = {path: tensor for path, one in parts_of(value) if (tensor := _spatial(torch, one)) is not None}
    for path, tensor in arrays.items():
        vectors = _two_channels(tensor)
        if vectors is None:
            continue
        size = vectors.shape[-2:]
        others = {name: one for name, one in arrays.items() if name != path}
        frames = [grey for one in others.values() if (grey := _grey(one, size)) is not None]
        pairs = [(both[0], both[1]) for one in others.values() if (both := _halves(one, size)) is not None]
        if len(frames) == 2:
            pairs.append((frames[0], frames[1]))
        for first, second in pairs:
            yield Motion(_middle(first), _middle(second), _middle(vectors), path)


def _spatial(torch: Any, value: Any) -> Any | None:
    tensor = as_tensor(torch, value)
    if tensor is None or tensor.is_complex() or not 2 <= tensor.dim() <= 3 or tensor.dtype == torch.bool:
        return None
    sizes = sorted(tensor.shape)[-2:]
    return tensor.double() if min(sizes) >= LEAST and bool(tensor.isfinite().all()) else None


def _two_channels(tensor: Any) -> Any | None:
    if tensor.dim() == 3 and tensor.shape[0] == 2:
        return tensor
    return tensor.permute(2, 0, 1) if tensor.dim() == 3 and tensor.shape[2] == 2 else None


def _grey(tensor: Any, size: Any) -> Any | None:
    if tensor.dim() == 2:
        return tensor if tensor.shape == size else None
    if tensor.shape[0] in (1, 3) and tensor.shape[1:] == size:
        return tensor.mean(0)
    return tensor.mean(2) if tensor.shape[2] in (1, 3) and tensor.shape[:2] == size else None


def _halves(tensor: Any, size: Any) -> tuple[Any, Any] | None:
    """Two frames that are channels of one array."""
    if tensor.dim() == 3 and tensor.shape[2] in (2, 6) and tensor.shape[:2] == size:
        tensor = tensor.permute(2, 0, 1)
    if tensor.dim() == 3 and tensor.shape[0] in (2, 6) and tensor.shape[1:] == size:
        half = tensor.shape[0] // 2
        return tensor[:half].mean(0), tensor[half:].mean(0)
    return None


def _middle(tensor: Any) -> Any:
    for axis in (-1, -2):
        if tensor.shape[axis] > MOST:
            tensor = tensor.narrow(axis, (tensor.shape[axis] - MOST) // 2, MOST)
    return tensor


def left(torch: Any, motion: Motion, way: Way, change: Any = None) -> float:
    """Share of the squared difference of the frames that is left once the one is fetched along the vectors."""
    rows, sign, back, shares = way
    vectors = sign * (motion.vectors.flip(0) if rows else motion.vectors)  # now x, y
    height, width = vectors.shape[-2:]
    if shares:
        vectors = vectors * torch.tensor([(width - 1) / 2, (height - 1) / 2]).reshape(2, 1, 1)
    if change is not None:
        vectors = torch.einsum("ij,jhw->ihw", change, vectors)
    first, second = (motion.second, motion.first) if back else (motion.first, motion.second)
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    at = torch.stack([2 * (x + vectors[0]) / (width - 1) - 1, 2 * (y + vectors[1]) / (height - 1) - 1], -1)
    fetched = torch.nn.functional.grid_sample(second[None, None], at[None], align_corners=True)[0, 0]
    inside = (at.abs() <= 1).all(-1)
    inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False
    if int(inside.sum()) < 0.3 * inside.numel():
        return math.inf
    a, b, c = first[inside], fetched[inside], second[inside]
    a, b, c = (one - one.mean() for one in (a, b, c))
    before = float((a - c).square().mean())
    return float((a - b).square().mean()) / before if before > 1e-12 else math.inf


def _way(torch: Any, dataset: Any) -> Way | None:
    """How the vectors are written, by the entries that a data set keeps: one way that fits nearly all of them."""
    length = known_length(dataset) or 0
    entries: list[Motion] = []
    for index in range(min(ENTRIES, length)):
        for keep, at in stores(torch, dataset, index):
            entries += list(motions(torch, keep[at]))[:2]
    moving = [one for one in entries if float(one.vectors.abs().max()) > 0]
    if len(moving) < ENTRIES - 1:
        return None
    scores = {way: sorted(left(torch, one, way) for one in moving) for way in WAYS}
    best = min(WAYS, key=lambda way: sum(one < EXPLAINED for one in scores[way]) * -1)
    fits = sum(one < EXPLAINED for one in scores[best])
    return best if fits >= ENTRIES - 1 else None


def _turned(torch: Any, motion: Motion, way: Way) -> float | None:
    """0 where the vectors fit the frames; else how far all must be turned until they do (or one of the two above).

    None where nothing makes them fit, or too little moves to tell.
    """
    own = left(torch, motion, way)
    if own < EXPLAINED:
        return 0.0
    best, found = math.inf, 0.0
    for mirrored in (False, True):
        for scale in SCALES if not mirrored else (1.0,):
            for turn in TURNS if scale == 1.0 else (0,):
                angle = math.radians(turn)
                change = torch.tensor(
                    [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64
                )
                if mirrored:
                    change = change @ torch.diag(torch.tensor([-1.0, 1.0], dtype=torch.float64))
                value = left(torch, motion, way, scale * change)
                if value < best:
                    best, found = value, MIRRORED if mirrored else SCALED if scale != 1.0 else float(turn)
    if own > APART and best < EXPLAINED and best < 0.5 * own and found:
        return found if found <= 180 or found == MIRRORED else 360.0 - found
    return None


# -- the line ----------------------------------------------------------------------------------------------------------


def _line(torch: Any, dataset: Any, index: int, number: int, way: Way) -> Location | None:
    """Where the innermost function that was given vectors that fit, and returned some that do not, makes them."""
    recorder = Recorder(torch, most=64)
    seed(torch, 400 + number)
    with recorder.recording(SECONDS):
        dataset[index]
    guilty: RecordedCall | None = None
    for call in recorder.done():
        given = [one for one in motions(torch, _flat(call.args)) if _turned(torch, one, way) == 0.0]
        made = list(motions(torch, call.result))
        if given and made and all(_turned(torch, one, way) not in (0.0, None) for one in made):
            guilty = call  # the last one that was entered is the innermost
            path = made[0].path
    return _assigned(guilty, path).location() if guilty is not None else None


def _flat(args: dict[str, Any]) -> list[Any]:
    return [value for name, value in args.items() if name != "self"]


def _assigned(call: RecordedCall, path: str) -> Any:
    """The last statement that assigns what is returned as the vectors."""
    node = definition_of(call.code)
    returned = returned_at(call.code)
    for one in walk(node) if node is not None else ():
        if not isinstance(one, ast.Return) or one.lineno != returned.line or one.value is None:
            continue
        part: ast.expr = one.value
        position = path[1:].partition("]")[0]
        if isinstance(part, ast.Tuple) and position.isdigit() and int(position) < len(part.elts):
            part = part.elts[int(position)]
        lines = [
            statement.lineno
            for statement in walk(node or one)
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(part, ast.Name) and _base(target) == part.id
        ]
        return call.at(max(lines, default=returned.line))
    return returned


def _base(target: ast.expr) -> str:
    while isinstance(target, ast.Subscript | ast.Attribute):
        target = target.value
    return target.id if isinstance(target, ast.Name) else ""
