"""Pictures for the report: contact sheets of every set, and curves of their grey values."""

from __future__ import annotations

import numpy as np

from traindx.data import offenders
from traindx.data.audit.context import AuditRoom
from traindx.data.pixels import HU_EDGES
from traindx.data.views import COLUMNS, fit, views
from traindx.evidence import Curve, Picture
from traindx.evidence.dataset import ImageSet

SIDE = 96
"""Side of a picture in a contact sheet."""

SHEET = 24
_ABREAST = 8


def draw(ctx: AuditRoom) -> None:
    """Add contact sheets and curves of every set, then the offending images."""
    for images in ctx.evidence.of(ImageSet):
        _sheet(ctx, images)
    _percentiles(ctx)
    _histograms(ctx)
    offenders.draw(ctx)


def _sheet(ctx: AuditRoom, images: ImageSet) -> None:
    """Evenly chosen members of a set, each in its own grey window."""
    step = max(1, -(-images.count // SHEET))
    query = f"SELECT {COLUMNS} FROM items WHERE set_name = ? ORDER BY path, item, key"
    chosen = [row for number, row in enumerate(ctx.store.rows(query, images.name)) if number % step == 0]
    shown = views(ctx, chosen, masks=images.role == "mask")
    tiles = [fit(shown[row[:3]], SIDE) for row in chosen if row[:3] in shown]
    if not tiles:
        return
    width = min(_ABREAST, len(tiles))
    tiles += [np.zeros((SIDE, SIDE), np.float32)] * (-len(tiles) % width)
    rows = [np.concatenate(tiles[start : start + width], axis=1) for start in range(0, len(tiles), width)]
    caption = f"{len(shown)} of {images.count} members of the set “{images.name}”, evenly chosen"
    ctx.evidence.add_picture(Picture(name=f"sheet: {images.name}", caption=caption), np.concatenate(rows))


def _percentiles(ctx: AuditRoom) -> None:
    """How far members of a set differ in grey values: lowest, median and highest of each percentile."""
    levels = (0.0, 1.0, 25.0, 50.0, 75.0, 99.0, 100.0)
    for name in ctx.sets():
        columns = ctx.columns("vmin, p01, p25, p50, p75, p99, vmax", "set_name = ?", name)
        if len(columns[0]) < 2:
            continue
        series = {
            "highest": tuple(float(np.max(values)) for values in columns),
            "median": tuple(float(np.median(values)) for values in columns),
            "lowest": tuple(float(np.min(values)) for values in columns),
        }
        ctx.evidence.add(
            Curve(
                name=f"grey values: {name}",
                caption=f"Grey values of the {len(columns[0])} members of “{name}”, by percentile of the pixels",
                x=levels,
                series=series,
                x_label="percentile of the pixels",
                y_label="HU" if " CT " in f" {name} " else "grey value",
            )
        )


def _histograms(ctx: AuditRoom) -> None:
    centres = tuple(float(value) for value in (HU_EDGES[:-1] + HU_EDGES[1:]) / 2)
    for name, counts in sorted(ctx.notes.get("histograms", {}).items()):
        total = float(np.sum(counts))
        if total:
            ctx.evidence.add(
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
