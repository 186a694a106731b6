"""Landmarks against their images."""

from __future__ import annotations

from traindx.data.audit.context import AuditRoom, Collector
from traindx.data.join import matching_column
from traindx.data.tables import Table
from traindx.evidence.dataset_labels import PointTable

RELATIVE_LIMIT = 1.5
"""Coordinates up to here are taken for relative: 1 and a margin for landmarks that stick out."""

MARGIN = 1.0
"""Pixels beyond the last one that still count as its border, as annotation tools place them."""


OTHER_ORIGIN = 0.3
"""Share of landmarks with a negative coordinate from which on the origin is not the corner of the image."""

OF_IMAGES = ("stem", "name", "tail", "sop", "case_key")
"""Joins that name one image; a patient has several, and a landmark lies in one of them."""


def audit(ctx: AuditRoom) -> None:
    """Write :class:`PointTable` for every table of landmarks that finds its images."""
    for table in ctx.tables:
        if table.points and ctx.store.joined.get(table.name) in OF_IMAGES:
            _table(ctx, table)


def _table(ctx: AuditRoom, table: Table) -> None:
    key = matching_column(ctx.store, "points", table.name)
    highest = ctx.store.one("SELECT MAX(MAX(ABS(x), ABS(y))) FROM points WHERE source = ?", table.name)[0]
    relative = highest is not None and highest <= RELATIVE_LIMIT
    outside, lost = Collector(worst_first=True), Collector()
    count = turned = negative = 0
    images: set[str] = set()
    query = (
        "SELECT p.line, p.id, p.name, p.x, p.y, MAX(i.width), MAX(i.height) FROM points p "
        f"JOIN items i ON i.{key} = p.id WHERE p.source = ? AND i.role = 'image' AND i.kind <> 'nifti' "
        "GROUP BY p.rowid ORDER BY p.line"
    )
    for line, image, name, x, y, width, height in ctx.store.rows(query, table.name):
        count += 1
        images.add(image)
        if x is None or y is None:
            lost.add(f"{table.name}:{line}", f"{image} {name}")
            continue
        negative += min(x, y) < -MARGIN
        across, down = (1.0, 1.0) if relative else (float(width), float(height))
        margin = MARGIN / min(width, height) if relative else MARGIN
        beyond = max(-x, -y, x - across, y - down)
        if beyond > margin:
            size = f" in an image of {width} x {height}"
            outside.add(f"{table.name}:{line}", f"{image} {name} {x:g} {y:g}{size}", beyond)
            turned += max(-x, -y, x - down, y - across) <= margin
    if negative > OTHER_ORIGIN * count:
        ctx.skip(
            f"table {table.name}",
            f"{negative} of {count} landmarks have a negative coordinate: they are not counted from the image's corner",
        )
    elif count:
        ctx.evidence.add(
            PointTable(
                table=table.name,
                points=count,
                images=len(images),
                unit="relative" if relative else "pixel",
                outside=outside.count,
                outside_examples=outside.examples,
                as_exchanged=turned,
                not_numbers=lost.count,
                not_numbers_examples=lost.examples,
            )
        )
