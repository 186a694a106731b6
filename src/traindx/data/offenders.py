"""The offending images themselves: boxes drawn, masks outlined, copies side by side."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from traindx.data.audit.boxes import boxes
from traindx.data.audit.context import AuditRoom, item_name
from traindx.data.join import matching_column
from traindx.data.views import COLUMNS, Row, fit, views
from traindx.evidence import Picture
from traindx.evidence.dataset import Example, PairGeometry
from traindx.evidence.dataset_intensities import DisplayWindow, HounsfieldFacts, Polarity
from traindx.evidence.dataset_labels import BoxesOnMap, BoxTable, MaskValues

SIDE = 256
"""Side of the picture of one offending image."""

PANELS = 4
"""Offending images drawn a finding."""


def draw(ctx: AuditRoom) -> None:
    """Add a picture for every kind of offence that can be seen. Rules refer to them by name."""
    for table in ctx.evidence.of(BoxTable):
        _bad_boxes(ctx, table)
    for found in ctx.evidence.of(BoxesOnMap):
        caption = f"Boxes without a cell centre on a {found.map_size} x {found.map_size} map"
        _draw_boxes(ctx, found.table, _lines(found.examples), f"small boxes: {found.table}", caption)
    for hu in ctx.evidence.of(HounsfieldFacts):
        _named(ctx, hu.padded_examples, f"padding: {hu.name}", "CT with values below -1100 HU (in black)")
    for polarity in ctx.evidence.of(Polarity):
        _named(ctx, polarity.opposite_examples, f"negatives: {polarity.name}", "Images that look like negatives")
    for window in ctx.evidence.of(DisplayWindow):
        _named(ctx, window.burnt_examples, f"burnt: {window.name}", "Images that are largely pure white")
    for masks in ctx.evidence.of(MaskValues):
        odd = (*masks.undeclared_examples, *masks.many_values_examples, *masks.fractional_examples)
        _named(ctx, odd, f"mask values: {masks.name}", "Masks with odd values, lowest black, highest white", masks=True)
    _masks_on_images(ctx)
    _twins(ctx)


def _rows(ctx: AuditRoom, examples: Iterable[Example]) -> list[tuple[str, Row]]:
    """Rows of the store that examples name."""
    found: list[tuple[str, Row]] = []
    for example in examples:
        path = example.name.split("#")[0]
        for row in ctx.store.rows(f"SELECT {COLUMNS}, name FROM items WHERE path = ?", path):
            place, item, key = row[:3]
            if example.name in (item_name(place, item, key), item_name(place, item, key, row[8])):
                found.append((example.name, row[:8]))
                break
        if len(found) == PANELS:
            break
    return found


def _named(ctx: AuditRoom, examples: Iterable[Example], name: str, caption: str, *, masks: bool = False) -> None:
    """The images that examples name, side by side."""
    rows = _rows(ctx, examples)
    seen = views(ctx, [row for _, row in rows], masks=masks)
    shown = [(label, seen[row[:3]]) for label, row in rows if row[:3] in seen]
    if shown:
        picture = Picture(name=name, caption=caption, labels=tuple(label for label, _ in shown))
        ctx.evidence.add_picture(picture, np.stack([fit(view, SIDE) for _, view in shown]))


def _inner(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The region without its outermost two pixels."""
    for _ in range(2):
        padded = np.pad(region, 1)
        region = region & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return region


def _masks_on_images(ctx: AuditRoom) -> None:
    """Images with the outline of masks that do not belong there, as the arrays lie."""
    panels: list[NDArray[np.float32]] = []
    labels: list[str] = []
    for record in ctx.evidence.of(PairGeometry):
        examples = (*record.orientation_examples, *record.displaced_examples, *record.spacing_examples)
        for label, mask in _rows(ctx, (*record.shape_examples, *examples)):
            query = (
                f"SELECT {', '.join('i.' + name for name in COLUMNS.split(', '))} FROM items i "
                "JOIN pairs p ON p.image = i.id JOIN items m ON m.id = p.mask "
                "WHERE m.path = ? AND m.item = ? AND m.key = ? LIMIT 1"
            )
            image = ctx.store.one(query, *mask[:3])
            seen = {**views(ctx, [mask], masks=True), **(views(ctx, [image]) if image[0] is not None else {})}
            if mask[:3] not in seen or image[:3] not in seen:
                continue
            picture, outline = fit(seen[image[:3]] * 0.7, SIDE), fit(seen[mask[:3]], SIDE) > 0.25
            picture[outline & ~_inner(outline)] = 1.0
            panels.append(picture)
            labels.append(label)
    if panels:
        caption = "Masks outlined on their images, middle slices, as a loader that ignores the headers sees them"
        picture_record = Picture(name="masks on images", caption=caption, labels=tuple(labels[:PANELS]))
        ctx.evidence.add_picture(picture_record, np.stack(panels[:PANELS]))


def _bad_boxes(ctx: AuditRoom, table: BoxTable) -> None:
    kinds_of = ("outside", "swapped", "no_area", "other_unit")
    lines = {line for kind in kinds_of for line in _lines(getattr(table, f"{kind}_examples"))}
    _draw_boxes(ctx, table.table, lines, f"boxes: {table.table}", "Images with invalid boxes, as the table draws them")


def _lines(examples: tuple[Example, ...]) -> set[str]:
    return {example.name for example in examples}


def _draw_boxes(ctx: AuditRoom, source: str, lines: set[str], name: str, caption: str, most: int = PANELS) -> None:
    """Up to four images with all their boxes, the offending one bright."""
    if not lines:  # all boxes of the table would be read for nothing
        return
    table = next(table for table in ctx.tables if table.name == source)
    relative = any(found.unit == "relative" for found in ctx.evidence.of(BoxTable) if found.table == source)
    every = list(boxes(ctx, table))
    panels: list[NDArray[np.float32]] = []
    labels: list[str] = []
    wanted = [box for box in every if box.at in lines][:most]
    rows = {}
    for box in wanted:
        key = matching_column(ctx.store, "boxes", source) or "name"
        row = ctx.store.one(f"SELECT {COLUMNS} FROM items WHERE role = 'image' AND {key} = ? LIMIT 1", box.id)
        if row[0] is not None:
            rows[box.id] = row
    seen = views(ctx, rows.values())
    for box in wanted:
        view = seen.get(rows[box.id][:3]) if box.id in rows else None
        if view is None:
            continue
        canvas = fit(view * 0.8, SIDE)
        for other in (other for other in every if other.id == box.id and other.finite):
            place = other.scaled(relative)
            if place is not None:
                _outline(canvas, place, view.shape, 1.0 if other.at == box.at else 0.9)
        panels.append(canvas)
        labels.append(f"{box.id} ({box.at})")
    if panels:
        ctx.evidence.add_picture(Picture(name=name, caption=caption, labels=tuple(labels)), np.stack(panels))


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


def _twins(ctx: AuditRoom) -> None:
    """Pairs of near-duplicates side by side."""
    wanted = [number for pair in ctx.notes.get("near", ())[:3] for number in pair]
    rows = {number: ctx.store.one(f"SELECT {COLUMNS}, name FROM items WHERE id = ?", number) for number in wanted}
    seen = views(ctx, [row[:8] for row in rows.values()])
    shown = [(rows[number][8], seen[rows[number][:3]]) for number in wanted if rows[number][:3] in seen]
    if shown:
        caption = "Pairs that look alike, side by side, the most alike first"
        picture = Picture(name="near-duplicates", caption=caption, labels=tuple(str(name) for name, _ in shown))
        ctx.evidence.add_picture(picture, np.stack([fit(view, SIDE) for _, view in shown]))
