"""How the slices of DICOM series fit together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data.audit.context import AuditRoom, Collector, grouped
from traindx.evidence.dataset import SeriesGeometry

UNEVEN = 0.1
"""Share of the median slice distance by which a distance may differ: positions are written with few digits."""

_MIN_ROWS = 3


def audit(ctx: AuditRoom) -> None:
    """Write :class:`SeriesGeometry` over all series of at least three slices with positions."""
    query = (
        "SELECT series, path, position, thickness, digest, normal, shape, spacing0, spacing1 FROM items "
        "WHERE kind = 'dicom' AND role = 'image' AND position IS NOT NULL ORDER BY series, path"
    )
    uneven, thick = Collector(worst_first=True), Collector(worst_first=True)
    repeated, disordered, mixed = Collector(), Collector(), Collector()
    total = 0
    for _, slices in grouped(ctx.store.rows(query)):
        rows = _without_copies(slices)
        if len(rows) < _MIN_ROWS:
            continue
        total += 1
        folder = rows[0][1].rpartition("/")[0]
        name = f"{folder}/" if folder else rows[0][1]
        planes = {row[5:] for row in rows}
        if len(planes) > 1:
            mixed.add(
                name, f"{len(planes)} different sizes, spacings or orientations in one series of {len(rows)} slices"
            )
            continue
        positions = np.array([row[2] for row in rows], np.float64)
        ordered = np.sort(positions)
        steps = np.diff(ordered)
        if np.any(steps < 1e-3):
            repeated.add(name, f"{int(np.sum(steps < 1e-3))} of {len(rows)} slices lie where another one lies")
            continue
        _order(disordered, name, positions)
        middle = float(np.median(steps))
        if steps.max() - steps.min() > UNEVEN * middle:
            detail = f"slice distances {steps.min():.3g} to {steps.max():.3g} mm, {len(rows)} slices"
            uneven.add(name, detail, float(steps.max() / middle))
        thickness = rows[0][3]
        if thickness and abs(thickness - middle) > UNEVEN * middle:
            detail = f"SliceThickness {thickness:g} mm, slices {middle:.3g} mm apart"
            thick.add(name, detail, max(thickness / middle, middle / thickness))
    if not total:
        return
    ctx.evidence.add(
        SeriesGeometry(
            series=total,
            uneven=uneven.count,
            uneven_examples=uneven.examples,
            repeated=repeated.count,
            repeated_examples=repeated.examples,
            disordered=disordered.count,
            disordered_examples=disordered.examples,
            mixed=mixed.count,
            mixed_examples=mixed.examples,
            thickness_differs=thick.count,
            thickness_examples=thick.examples,
        )
    )


def _without_copies(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Slices without those that repeat the pixels of another one at the same place (copies are D109's to report)."""
    first = {(row[2], row[4]): row for row in reversed(rows)}
    return [row for row in rows if first[row[2], row[4]] is row]


def _order(disordered: Collector, name: str, positions: NDArray[np.float64]) -> None:
    """Positions in the order of the sorted file names must rise or fall throughout."""
    steps = np.diff(positions)
    wrong = int(min(np.sum(steps < 0), np.sum(steps > 0)))
    if wrong:
        disordered.add(
            name, f"{wrong} of {len(steps)} steps between files sorted by name go the wrong way", float(wrong)
        )
