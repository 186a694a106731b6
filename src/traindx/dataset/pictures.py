"""Pictures for the report: contact sheets, histograms, and the offending images with their boxes drawn."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.dataset import read_dicom, read_images
from traindx.dataset.audit.boxes import boxes
from traindx.dataset.audit.room import AuditRoom
from traindx.dataset.pixels import HU_EDGES
from traindx.dataset.read_arrays import load_items
from traindx.evidence import Curve, Picture
from traindx.evidence.dataset import BoxesOnMap, BoxTable, Example, ImageSet

SIDE = 96
"""Side of a picture in a contact sheet."""

SHEET = 24
_COLUMNS = 8
_DRAWN = 256
_WHICH = "path, item, key, kind, p01, p99, vmin, vmax"

Place = tuple[str, int, str]
Row = tuple[Any, ...]


def draw(room: AuditRoom) -> None:
    """Add contact sheets and curves of every set, and pictures of offending boxes and near-duplicates."""
    for images in room.evidence.of(ImageSet):
        _sheet(room, images)
    _percentiles(room)
    _histograms(room)
    for table in room.evidence.of(BoxTable):
        _bad_boxes(room, table)
    _vanishing(room)
    _twins(room)


def _sheet(room: AuditRoom, images: ImageSet) -> None:
    """Evenly chosen members of a set, each in its own grey window."""
    step = max(1, -(-images.count // SHEET))
    query = f"SELECT {_WHICH} FROM items WHERE set_name = ? ORDER BY path, item, key"
    chosen = [row for number, row in enumerate(room.store.rows(query, images.name)) if number % step == 0]
    shown = _shown(room, chosen, masks=images.role == "mask")
    tiles = [_fit(shown[row[:3]], SIDE) for row in chosen if row[:3] in shown]
    if not tiles:
        return
    width = min(_COLUMNS, len(tiles))
    tiles += [np.zeros((SIDE, SIDE), np.float32)] * (-len(tiles) % width)
    rows = [np.concatenate(tiles[start : start + width], axis=1) for start in range(0, len(tiles), width)]
    caption = f"{len(shown)} of {images.count} members of the set “{images.name}”, evenly chosen"
    room.evidence.add_picture(Picture(name=f"sheet: {images.name}", caption=caption), np.concatenate(rows))


def _shown(room: AuditRoom, rows: Iterable[Row], *, masks: bool = False) -> dict[Place, NDArray[np.float32]]:
    """One 2-D view of each item, in [0, 1]: the image, or the middle slice of a volume; without those that fail now."""
    views: dict[Place, NDArray[np.float32]] = {}
    together: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        together[row[0], row[2], row[3]].append(row)
    for (path, key, kind), members in together.items():
        file = os.path.join(room.root, path) if path != "." else room.root
        by_item = {row[1]: row for row in members}
        try:
            for item, array in _arrays(file, key, kind, sorted(by_item)):
                _, _, _, _, p01, p99, vmin, vmax = by_item[item]
                low, high = (vmin, vmax) if masks or p99 <= p01 else (p01, p99)
                flat = array
                while flat.ndim > 2:
                    flat = flat[flat.shape[0] // 2]
                if flat.ndim == 2:
                    views[path, item, key] = _window(np.asarray(flat, np.float32), low, high)
        except Exception:  # it could be read a moment ago; a picture is not worth a failure
            continue
    return views


def _arrays(file: str, key: str, kind: str, wanted: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Items of a file, slowest axis first."""
    if kind == "array":
        yield from load_items(file, key, wanted)
    elif kind == "dicom":
        header, array = read_dicom.load(file)
        array = array[..., 0] if header.samples > 1 else array
        yield -1, array * np.float32(header.slope or 1.0) + np.float32(header.intercept or 0.0)
    elif kind == "nifti":
        import nibabel as nib

        array = np.asanyarray(nib.load(file).dataobj)
        yield -1, (array.reshape(*array.shape[:3], -1)[..., 0] if array.ndim > 3 else array).transpose()
    else:
        yield -1, read_images.load(file)[0]


def _window(array: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    scaled = (array - low) / (high - low) if high > low else np.full_like(array, 0.5)
    return np.clip(np.nan_to_num(scaled), 0.0, 1.0).astype(np.float32)


def _fit(array: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Fit into a black square by nearest neighbour, keeping the aspect."""
    height, width = array.shape
    scale = side / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    small = array[np.arange(rows) * height // rows][:, np.arange(columns) * width // columns]
    square = np.zeros((side, side), np.float32)
    top, left = (side - rows) // 2, (side - columns) // 2
    square[top : top + rows, left : left + columns] = small
    return square


def _percentiles(room: AuditRoom) -> None:
    """How far members of a set differ in grey values: lowest, median and highest of each percentile."""
    levels = (0.0, 1.0, 25.0, 50.0, 75.0, 99.0, 100.0)
    for name in room.sets():
        columns = room.columns("vmin, p01, p25, p50, p75, p99, vmax", "set_name = ?", name)
        if len(columns[0]) < 2:
            continue
        series = {
            "highest": tuple(float(np.max(values)) for values in columns),
            "median": tuple(float(np.median(values)) for values in columns),
            "lowest": tuple(float(np.min(values)) for values in columns),
        }
        room.evidence.add(
            Curve(
                name=f"grey values: {name}",
                caption=f"Grey values of the {len(columns[0])} members of “{name}”, by percentile of the pixels",
                x=levels,
                series=series,
                x_label="percentile of the pixels",
                y_label="HU" if " CT " in f" {name} " else "grey value",
            )
        )


def _histograms(room: AuditRoom) -> None:
    centres = tuple(float(value) for value in (HU_EDGES[:-1] + HU_EDGES[1:]) / 2)
    for name, counts in sorted(room.notes.get("histograms", {}).items()):
        total = float(np.sum(counts))
        if total:
            room.evidence.add(
                Curve(
                    name=f"histogram: {name}",
                    caption=f"Histogram of all voxels of “{name}” (the ends collect what lies beyond)",
                    x=centres,
                    series={"share of voxels": tuple(float(value) / total for value in counts)},
                    x_label="HU",
                    y_label="share of voxels",
                    log_y=True,
                )
            )


def _bad_boxes(room: AuditRoom, table: BoxTable) -> None:
    kinds_of = ("outside", "swapped", "no_area", "other_unit")
    lines = {line for kind in kinds_of for line in _lines(getattr(table, f"{kind}_examples"))}
    _draw_boxes(room, table.table, lines, f"boxes: {table.table}", "Images with invalid boxes, as the table draws them")


def _vanishing(room: AuditRoom) -> None:
    for found in room.evidence.of(BoxesOnMap):
        caption = f"Boxes without a cell centre on a {found.map_size} x {found.map_size} map"
        _draw_boxes(room, found.table, _lines(found.examples), f"small boxes: {found.table}", caption)


def _lines(examples: tuple[Example, ...]) -> set[int]:
    return {int(example.name.rpartition(":")[2]) for example in examples}


def _draw_boxes(room: AuditRoom, source: str, lines: set[int], name: str, caption: str, most: int = 4) -> None:
    """Up to four images with all their boxes, the offending one bright."""
    table = next((table for table in room.tables if table.name == source), None)
    if table is None or not lines:
        return
    relative = any(found.unit == "relative" for found in room.evidence.of(BoxTable) if found.table == source)
    every = list(boxes(room, table))
    panels: list[NDArray[np.float32]] = []
    labels: list[str] = []
    wanted = [box for box in every if box.line in lines][:most]
    rows = {}
    for box in wanted:
        row = room.store.one(f"SELECT {_WHICH} FROM items WHERE role = 'image' AND name = ? LIMIT 1", box.id)
        if row[0] is not None:
            rows[box.id] = row
    views = _shown(room, rows.values())
    for box in wanted:
        view = views.get(rows[box.id][:3]) if box.id in rows else None
        if view is None:
            continue
        canvas = _fit(view * 0.8, _DRAWN)
        for other in (other for other in every if other.id == box.id and other.finite):
            place = other.scaled(relative)
            if place is not None:
                _outline(canvas, place, view.shape, 1.0 if other.line == box.line else 0.9)
        panels.append(canvas)
        labels.append(f"{box.id} (line {box.line})")
    if panels:
        room.evidence.add_picture(Picture(name=name, caption=caption, labels=tuple(labels)), np.stack(panels))


def _outline(
    canvas: NDArray[np.float32], place: tuple[float, float, float, float], shape: tuple[int, ...], value: float
) -> None:
    """Draw a box, given relative to the image, on a canvas that :func:`_fit` made."""
    side = canvas.shape[0]
    height, width = shape
    scale = side / max(height, width)
    left, top = (side - width * scale) / 2, (side - height * scale) / 2
    xs = sorted(min(max(round(left + x * width * scale), 0), side - 1) for x in (place[0], place[2]))
    ys = sorted(min(max(round(top + y * height * scale), 0), side - 1) for y in (place[1], place[3]))
    canvas[ys[0] : ys[1] + 1, xs[0]] = canvas[ys[0] : ys[1] + 1, xs[1]] = value
    canvas[ys[0], xs[0] : xs[1] + 1] = canvas[ys[1], xs[0] : xs[1] + 1] = value


def _twins(room: AuditRoom) -> None:
    """Pairs of near-duplicates side by side."""
    wanted = [number for pair in room.notes.get("near", ())[:3] for number in pair]
    rows = {number: room.store.one(f"SELECT {_WHICH}, name FROM items WHERE id = ?", number) for number in wanted}
    views = _shown(room, [row[:8] for row in rows.values()])
    shown = [(rows[number][8], views[rows[number][:3]]) for number in wanted if rows[number][:3] in views]
    if shown:
        caption = "Pairs that look alike, side by side, the most alike first"
        picture = Picture(name="near-duplicates", caption=caption, labels=tuple(str(name) for name, _ in shown))
        room.evidence.add_picture(picture, np.stack([_fit(view, _DRAWN) for _, view in shown]))
