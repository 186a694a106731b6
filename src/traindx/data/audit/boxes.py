"""Boxes against their images, against the labels, and on the network's map."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from traindx.data.audit.context import AuditRoom, Collector
from traindx.data.join import matching_column
from traindx.data.options import DEFAULT_MAP
from traindx.data.tables import Table
from traindx.evidence.dataset import Share
from traindx.evidence.dataset_labels import BoxesOnMap, BoxTable, LabelBoxAgreement

RELATIVE_LIMIT = 1.5
"""Coordinates up to here are taken for relative: 1 and a margin for boxes that stick out."""

OUTSIDE_PIXELS = 1.0
OUTSIDE_SHARE = 0.01


@dataclass(slots=True)
class Box:
    """One row of a box table; sizes of its image are 0 where unknown, ``at`` is its file and line.

    ``drawn_on`` is the size of the image as the table gives it, ``640x480``, or nothing.
    """

    line: int
    id: str
    name: str
    corners: tuple[float, float, float, float]
    width: int
    height: int
    reader: str = ""
    at: str = ""
    drawn_on: str = ""

    @property
    def finite(self) -> bool:
        """True if all four coordinates are numbers."""
        return all(math.isfinite(value) for value in self.corners)

    @property
    def relative(self) -> bool:
        """True if no coordinate can be a pixel."""
        return max(abs(value) for value in self.corners) <= RELATIVE_LIMIT

    def scaled(self, relative: bool) -> tuple[float, float, float, float] | None:
        """Corners relative to the image, or None where its size is not known."""
        x0, y0, x1, y1 = self.corners
        if relative:
            return self.corners
        return (x0 / self.width, y0 / self.height, x1 / self.width, y1 / self.height) if self.width else None


def audit(ctx: AuditRoom) -> None:
    """Write :class:`BoxTable` and :class:`BoxesOnMap` a table, :class:`LabelBoxAgreement` a class."""
    for table in (table for table in ctx.tables if table.box is not None):
        relative = _is_relative(ctx, table)
        _table(ctx, table, relative)
        _map(ctx, table, relative)
    if ctx.store.count("SELECT COUNT(*) FROM boxes") and ctx.store.count("SELECT COUNT(*) FROM labels"):
        _agreement(ctx)


def boxes(ctx: AuditRoom, table: Table) -> Iterator[Box]:
    """All boxes of a table, with the size of their images where that is known."""
    key = matching_column(ctx.store, "boxes", table.name) or "name"
    ctx.store.run("DROP TABLE IF EXISTS sizes")
    ctx.store.run(
        f"CREATE TEMP TABLE sizes AS SELECT {key} AS id, MAX(width) AS width, MAX(height) AS height FROM items "
        f"WHERE role = 'image' AND kind <> 'nifti' GROUP BY {key}"
    )
    ctx.store.run("CREATE INDEX sizes_id ON sizes (id)")
    query = (
        "SELECT b.line, b.id, b.name, b.x0, b.y0, b.x1, b.y1, s.width, s.height, b.reader, b.at, b.drawn_on "
        "FROM boxes b "
        "LEFT JOIN sizes s ON s.id = b.id WHERE b.source = ? ORDER BY b.line"
    )
    for line, name, kind, x0, y0, x1, y1, width, height, reader, at, drawn_on in ctx.store.rows(query, table.name):
        corners = tuple(math.nan if value is None else float(value) for value in (x0, y0, x1, y1))
        four = (corners[0], corners[1], corners[2], corners[3])
        where = at or f"{table.name}:{line}"
        yield Box(line, name, kind, four, width or 0, height or 0, reader or "", where, drawn_on or "")


def _is_relative(ctx: AuditRoom, table: Table) -> bool:
    finite = [box.relative for box in boxes(ctx, table) if box.finite]
    return bool(finite) and sum(finite) * 2 >= len(finite)


def _table(ctx: AuditRoom, table: Table, relative: bool) -> None:
    other, lost, outside = Collector(), Collector(), Collector(worst_first=True)
    swapped, flat, repeated, resized = Collector(), Collector(), Collector(), Collector()
    count = sizes = as_size = 0
    areas: list[float] = []
    images: set[str] = set()
    seen: set[int] = set()
    names: Counter[str] = Counter()
    for box in boxes(ctx, table):
        count += 1
        if box.id not in images and box.width and box.drawn_on not in ("", f"{box.width}x{box.height}"):
            resized.add(box.at, f"{box.id} is {box.width}x{box.height}, drawn on {box.drawn_on}")
        images.add(box.id)
        names[box.name] += 1
        sizes += box.width > 0
        name = box.at
        said = f"{box.id} {' '.join(f'{value:g}' for value in box.corners)}"
        if not box.finite:
            lost.add(name, said)
            continue
        identity = hash((box.id, box.name, box.corners, box.reader))
        if identity in seen:
            repeated.add(name, said)
        seen.add(identity)
        x0, y0, x1, y1 = box.corners
        if x1 < x0 or y1 < y0:
            swapped.add(name, said)
            as_size += _fits_as_size(box, relative)
            continue
        if x1 == x0 or y1 == y0:
            flat.add(name, said)
            continue
        if box.relative != relative:
            other.add(name, said)
            continue
        place = box.scaled(relative)
        if place is None:
            continue
        beyond = max(-place[0], -place[1], place[2] - 1, place[3] - 1)
        margin = OUTSIDE_SHARE if relative else OUTSIDE_PIXELS / max(min(box.width, box.height), 1)
        if beyond > margin:
            size = "" if relative else f" in an image of {box.width} x {box.height}"
            outside.add(name, f"{said}{size}", beyond)
        areas.append((place[2] - place[0]) * (place[3] - place[1]))
    ctx.evidence.add(
        BoxTable(
            table=table.name,
            boxes=count,
            images=len(images),
            unit="relative" if relative else "pixel",
            other_unit=other.count,
            other_unit_examples=other.examples,
            not_finite=lost.count,
            not_finite_examples=lost.examples,
            outside=outside.count,
            outside_examples=outside.examples,
            swapped=swapped.count,
            swapped_examples=swapped.examples,
            no_area=flat.count,
            no_area_examples=flat.examples,
            as_width_height=as_size,
            size_known=sizes,
            median_area=float(np.median(areas)) if areas else math.nan,
            classes=tuple(Share(value=name, count=number) for name, number in names.most_common(100)),
            other_size=resized.count,
            other_size_examples=resized.examples,
            repeated=repeated.count,
            repeated_examples=repeated.examples,
        )
    )


def _fits_as_size(box: Box, relative: bool) -> bool:
    """True if the box would lie in its image with the last two numbers read as width and height."""
    x, y, width, height = box.corners
    if width <= 0 or height <= 0 or x < 0 or y < 0:
        return False
    limits = (1.0, 1.0) if relative else (float(box.width or math.inf), float(box.height or math.inf))
    return x + width <= limits[0] + 1e-6 and y + height <= limits[1] + 1e-6


def _map(ctx: AuditRoom, table: Table, relative: bool) -> None:
    stated = ctx.options.map_size is not None
    size = ctx.options.map_size or ctx.options.task.map_size or DEFAULT_MAP
    lost: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    examples = Collector(worst_first=True)
    total = 0
    for box in boxes(ctx, table):
        place = box.scaled(relative) if box.finite else None
        if place is None or place[2] <= place[0] or place[3] <= place[1]:
            continue
        total += 1
        lost[box.name][1] += 1
        if not (holds_a_centre(place[0], place[2], size) and holds_a_centre(place[1], place[3], size)):
            lost[box.name][0] += 1
            wide, high = (place[2] - place[0]) * size, (place[3] - place[1]) * size
            examples.add(box.at, f"{box.id}, {wide:.2f} x {high:.2f} cells", -wide * high)
    if not total:
        return
    ctx.evidence.add(
        BoxesOnMap(
            table=table.name,
            map_size=size,
            stated=stated or bool(ctx.options.task.map_size),
            boxes=total,
            vanished=sum(count for count, _ in lost.values()),
            vanished_by_class={name: (gone, count) for name, (gone, count) in sorted(lost.items())},
            examples=examples.examples,
        )
    )


def holds_a_centre(low: float, high: float, size: int) -> bool:
    """True if the interval [low, high) of [0, 1] contains the centre (k + 1/2) / size of a cell."""
    return math.ceil(low * size - 0.5) < high * size - 0.5


def _agreement(ctx: AuditRoom) -> None:
    """Compare labels and boxes of classes that both have, by name."""
    store = ctx.store
    boxed = {str(name).lower(): str(name) for (name,) in store.rows("SELECT DISTINCT name FROM boxes WHERE name <> ''")}
    for (label,) in list(store.rows("SELECT DISTINCT name FROM labels ORDER BY name")):
        plain = str(label).rpartition("=")[2].lower()
        if plain not in boxed:
            continue
        positives = "SELECT id FROM labels WHERE name = ? AND value > 0"
        with_box = "SELECT id FROM boxes WHERE name = ?"
        one_class = "=" in str(label)
        # In a column of names, an image of another class is negative for this one.
        negatives = (
            "SELECT id FROM labels WHERE name LIKE ? AND value >= 0"
            if one_class
            else "SELECT id FROM labels WHERE name = ? AND value = 0"
        )
        scope = f"{str(label).split('=')[0]}=%" if one_class else label
        missing, contrary = Collector(), Collector()
        for (name,) in store.rows(
            f"SELECT DISTINCT id FROM ({positives}) WHERE id NOT IN ({with_box}) ORDER BY id", label, boxed[plain]
        ):
            missing.add(str(name), f"{label}, no box")
        query = (
            f"SELECT DISTINCT id FROM ({with_box}) WHERE id IN ({negatives}) AND id NOT IN ({positives}) ORDER BY id"
        )
        for (name,) in store.rows(query, boxed[plain], scope, label):
            contrary.add(str(name), f"box of {boxed[plain]}, label negative")
        ctx.evidence.add(
            LabelBoxAgreement(
                name=boxed[plain],
                positives=store.count(f"SELECT COUNT(DISTINCT id) FROM ({positives})", label),
                positives_without_box=missing.count,
                boxed=store.count(f"SELECT COUNT(DISTINCT id) FROM ({with_box})", boxed[plain]),
                boxed_but_negative=contrary.count,
                without_box_examples=missing.examples,
                negative_examples=contrary.examples,
            )
        )
