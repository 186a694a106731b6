"""Which mask belongs to which image, and whether the two lie on one grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from traindx.data import geometry
from traindx.data.audit.context import AuditRoom, Collector, item_name
from traindx.evidence.dataset import PairCensus, PairGeometry

SPACING_TOLERANCE = 1e-3
"""Relative difference of voxel sizes that rounding in headers leaves (float32 pixdim, decimal strings of DICOM)."""

CORNER_TOLERANCE = 0.05
"""Corner distance in voxels that counts as the same place: rounding of quaternions leaves about a hundredth."""


def audit(ctx: AuditRoom) -> None:
    """Find the pairs, then write :class:`PairCensus` and :class:`PairGeometry`."""
    masks = ctx.store.count("SELECT COUNT(*) FROM items WHERE role = 'mask'")
    images = ctx.store.count("SELECT COUNT(*) FROM items WHERE role = 'image'")
    ctx.store.run("DROP TABLE IF EXISTS pairs")
    ctx.store.run("CREATE TABLE pairs (mask INTEGER, image INTEGER)")
    if not masks:
        if ctx.options.task.masks and images:
            _missing(ctx, "image", "mask", images, "role = 'image'", declared=True)
        return
    if not images:
        ctx.skip("images and masks", f"there are {masks} masks and no images beside them")
        return
    _match(ctx)
    unpaired = "role = 'mask' AND id NOT IN (SELECT mask FROM pairs)"
    _missing(ctx, "mask", "image", masks, unpaired, declared=True)
    # A DICOM image is one slice of a volume; whether its series has a mask is asked of the mask.
    singles = "role = 'image' AND kind <> 'dicom'"
    total = ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {singles}")
    if total:
        alone = f"{singles} AND id NOT IN (SELECT image FROM pairs)"
        _missing(ctx, "image", "mask", total, alone, declared=ctx.options.task.masks or bool(ctx.declared_labels))
    if ctx.store.count("SELECT COUNT(*) FROM pairs"):
        _compare(ctx)


def _match(ctx: AuditRoom) -> None:
    """Pairs within one array file, then by case, then by a case name that the mask's name begins with."""
    store = ctx.store
    store.run(
        "INSERT INTO pairs SELECT m.id, i.id FROM items m JOIN items i ON i.path = m.path AND i.item = m.item "
        "WHERE m.role = 'mask' AND i.role = 'image' AND m.pair_scope <> '' AND i.pair_scope = m.pair_scope"
    )
    free = "m.role = 'mask' AND m.id NOT IN (SELECT mask FROM pairs)"
    store.run(
        "INSERT INTO pairs SELECT m.id, i.id FROM items m JOIN items i ON i.case_key = m.case_key "
        f"WHERE {free} AND i.role = 'image' AND i.kind = m.kind"
    )
    store.run(
        "INSERT INTO pairs SELECT m.id, i.id FROM items m JOIN items i ON i.case_key = m.case_key "
        f"WHERE {free} AND i.role = 'image' AND i.kind <> 'dicom'"
    )
    rest = list(store.rows(f"SELECT m.id, m.case_key FROM items m WHERE {free} AND m.kind <> 'dicom'"))
    for mask, key in rest:
        shorter = key
        while " " in shorter and not shorter.rsplit(" ", 1)[1].isdigit():
            shorter = shorter.rsplit(" ", 1)[0]
            query = "SELECT id FROM items WHERE role = 'image' AND kind <> 'dicom' AND case_key = ?"
            found = list(store.rows(query, shorter))
            if found:
                store.fill("pairs", ((mask, image) for (image,) in found))
                break


def _missing(ctx: AuditRoom, left: str, right: str, total: int, where: str, *, declared: bool) -> None:
    missing = ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {where}")
    examples = ctx.examples("shape", where, lambda shape: shape)
    ctx.evidence.add(
        PairCensus(left=left, right=right, total=total, missing=missing, declared=declared, examples=examples)
    )


def _compare(ctx: AuditRoom) -> None:
    shape, spacing, orientation = Collector(), Collector(worst_first=True), Collector()
    displaced = Collector(worst_first=True)
    side = "path, item, key, shape, spacing0, spacing1, spacing2, orient, affine"
    columns = ", ".join(f"{table}.{name}" for table in "im" for name in side.split(", "))
    query = (
        f"SELECT {columns} FROM pairs p JOIN items i ON i.id = p.image JOIN items m ON m.id = p.mask "
        "WHERE i.kind <> 'dicom' AND m.kind <> 'dicom' ORDER BY m.path, m.item, i.path, i.key"
    )
    total = 0
    for row in ctx.store.rows(query):
        total += 1
        image, mask = row[:9], row[9:]
        name = item_name(*mask[:3])
        partner = item_name(*image[:3])
        if _differ_in_shape(image[3], mask[3]):
            shape.add(name, f"mask {mask[3]}, image {image[3]} in {partner}")
            continue
        _compare_space(name, partner, image, mask, spacing, orientation, displaced)
    if not total:
        return
    ctx.evidence.add(
        PairGeometry(
            pairs=total,
            shape_differs=shape.count,
            shape_examples=shape.examples,
            spacing_differs=spacing.count,
            spacing_examples=spacing.examples,
            orientation_differs=orientation.count,
            orientation_examples=orientation.examples,
            displaced=displaced.count,
            displaced_examples=displaced.examples,
        )
    )


def _differ_in_shape(image: str, mask: str) -> bool:
    """Shapes differ, axes of length 1 and trailing colour channels aside."""
    first = [size for size in image.split("x") if size != "1"]
    second = [size for size in mask.split("x") if size != "1"]
    if first == second:
        return False
    if len(first) == len(second) + 1 and first[-1] in ("3", "4"):
        return first[:-1] != second
    if len(second) == len(first) + 1 and second[-1] in ("3", "4"):
        return second[:-1] != first
    return True


def _compare_space(
    name: str,
    partner: str,
    image: tuple[Any, ...],
    mask: tuple[Any, ...],
    spacing: Collector,
    orientation: Collector,
    displaced: Collector,
) -> None:
    sizes = [(a, b) for a, b in zip(image[4:7], mask[4:7], strict=True) if a is not None and b is not None]
    off = max((abs(math.log(a / b)) for a, b in sizes if a > 0 and b > 0), default=0.0)
    if image[7] and mask[7] and image[7] != mask[7]:
        orientation.add(name, f"mask {mask[7]}, image {image[7]} in {partner}")
    elif off > SPACING_TOLERANCE:
        say = [" x ".join(f"{size:.4g}" for size in side if size is not None) for side in (mask[4:7], image[4:7])]
        spacing.add(name, f"mask {say[0]} mm, image {say[1]} mm in {partner}", off)
    elif image[8] and mask[8]:
        first, second = geometry.unpack(image[8]), geometry.unpack(mask[8])
        dimensions = tuple(int(size) for size in [*mask[3].split("x"), "1", "1", "1"][:3])
        distance = geometry.corner_distance(first, second, dimensions)
        voxels = distance / float(np.min(geometry.voxel_sizes(first)))
        if voxels > CORNER_TOLERANCE:
            displaced.add(name, f"{distance:.3g} mm = {voxels:.3g} voxels away from {partner}", voxels)
