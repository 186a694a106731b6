"""Which mask belongs to which image, and whether the two lie on one grid."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from traindx.data import geometry
from traindx.data.audit.context import AuditRoom, Collector, item_name
from traindx.data.layout.pairing import Place, pair
from traindx.data.names import whole_case
from traindx.evidence.dataset import Example, PairCensus, PairGeometry

SPACING_TOLERANCE = 1e-3
"""Relative difference of voxel sizes that rounding in headers leaves (float32 pixdim, decimal strings of DICOM)."""

CORNER_TOLERANCE = 0.05
"""Corner distance in voxels that counts as the same place: rounding of quaternions leaves about a hundredth."""

ROUNDED = 0.01
"""Relative difference of voxel sizes up to which two affines are compared by where they put the corners: an affine
written with two decimals has voxels of 1.003 mm for 1 mm, and lies half a voxel off at the far end, or less."""


MOST_CHANNELS = 0.8
"""Share of the cases that must have a channel before it is missed in the others."""

GIVEN_UP = 500_000
"""Images up to which masks are looked for by the words of their paths, which holds all paths in memory."""


def audit(ctx: AuditRoom) -> None:
    """Find the pairs, then write :class:`PairCensus` and :class:`PairGeometry`."""
    masks = ctx.store.count("SELECT COUNT(*) FROM items WHERE role = 'mask'")
    images = ctx.store.count("SELECT COUNT(*) FROM items WHERE role = 'image'")
    ctx.store.run("DROP TABLE IF EXISTS pairs")
    ctx.store.run("CREATE TABLE pairs (mask INTEGER, image INTEGER)")
    channels(ctx)
    runs(ctx)
    if not masks:
        if ctx.options.task.masks and images:
            _missing(ctx, "image", "mask", images, "role = 'image'", declared=True)
        return
    if not images:
        ctx.skip("images and masks", f"there are {masks} masks and no images beside them")
        return
    _match(ctx)
    ctx.store.run("CREATE INDEX pairs_mask ON pairs (mask)")
    ctx.store.run("CREATE INDEX pairs_image ON pairs (image)")
    _masks_alone(ctx)
    _images_alone(ctx)
    if ctx.store.count("SELECT COUNT(*) FROM pairs"):
        _compare(ctx)


def _masks_alone(ctx: AuditRoom) -> None:
    """Masks without image, where most of their group have one; a group without any pair was not understood."""
    understood: list[str] = []
    total = 0
    for group, paired, count in _by_group(ctx, "role = 'mask'", "mask"):
        if paired:
            understood.append(group)
            total += count
        elif count == ctx.store.count(
            "SELECT COUNT(*) FROM items WHERE role = 'mask' AND kind = 'dicom' AND case_key <> series AND grp = ?",
            group,
        ):
            noun = "segmentation refers to a series" if count == 1 else "segmentations refer to series"
            ctx.skip(f"masks in {group or 'the folder'}", f"{count} {noun} of which no image is in the folder")
        else:
            ctx.skip(
                f"masks in {group or 'the folder'}",
                f"none of {count} could be given an image by their names; say how with --images and --masks, for "
                "example --images 'img/{case}.png' --masks 'seg/{case}_s.png'",
            )
    if understood:
        where = f"role = 'mask' AND grp IN ({_listed(understood)}) AND id NOT IN (SELECT mask FROM pairs)"
        _missing(ctx, "mask", "image", total, where, declared=True)


def _images_alone(ctx: AuditRoom) -> None:
    """Images without mask, in the groups of which some have one (test images need none), unless a task wants all."""
    # A DICOM image is one slice of a volume; whether its series has a mask is asked of the mask.
    singles = "role = 'image' AND kind <> 'dicom'"
    groups = list(_by_group(ctx, singles, "image"))
    if not any(paired for _, paired, _ in groups):
        return
    if ctx.convention is not None and ctx.convention.partial and not ctx.options.task.masks:
        return
    chosen = [(group, count) for group, paired, count in groups if paired]
    total = sum(count for _, count in chosen)
    if total:
        where = (
            f"{singles} AND grp IN ({_listed([group for group, _ in chosen])}) AND id NOT IN (SELECT image FROM pairs)"
        )
        _missing(ctx, "image", "mask", total, where, declared=ctx.options.task.masks or bool(ctx.declared_labels))


def _by_group(ctx: AuditRoom, where: str, side: str) -> list[tuple[str, int, int]]:
    """Group, how many of it are paired, how many there are."""
    paired = f"SUM(id IN (SELECT {side} FROM pairs))"
    query = f"SELECT grp, {paired}, COUNT(*) FROM items WHERE {where} GROUP BY grp ORDER BY grp"
    return [(str(group or ""), int(together or 0), int(count)) for group, together, count in ctx.store.rows(query)]


def _listed(names: list[str]) -> str:
    return ", ".join("'" + name.replace("'", "''") + "'" for name in names)


def channels(ctx: AuditRoom) -> None:
    """Cases that lack a channel which nearly all others have: ``case_0001``, ``case_flair``."""
    cases: dict[tuple[str, str], set[str]] = defaultdict(set)
    query = "SELECT grp, stem FROM items WHERE role = 'image' AND kind IN ('nifti', 'volume') ORDER BY path"
    for group, stem in ctx.store.rows(query):
        case, _, channel = str(stem).replace("-", "_").rpartition("_")
        if case:
            cases[str(group), case].add(channel)
    groups: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for (group, case), found in cases.items():
        groups[group][case] = found
    for members in groups.values():
        counts = Counter(channel for found in members.values() for channel in found)
        usual = [channel for channel, count in counts.items() if count >= MOST_CHANNELS * len(members)]
        if len(counts) != len(usual) or len(usual) < 2 or len(members) < 3:
            continue  # frames, visits and the like: their number differs from case to case
        for channel in sorted(usual):
            lacking = sorted(case for case, found in members.items() if channel not in found)
            if lacking:
                ctx.evidence.add(
                    PairCensus(
                        left="case",
                        right=f"channel “{channel}”",
                        total=len(members),
                        missing=len(lacking),
                        examples=tuple(Example(name=case, detail=f"no _{channel}") for case in lacking),
                    )
                )


def runs(ctx: AuditRoom) -> None:
    """Masks given as run lengths that do not fit into their image, or are no pairs of numbers."""
    for (source,) in list(ctx.store.rows("SELECT DISTINCT source FROM runs ORDER BY source")):
        key = ctx.store.joined.get(source)
        if not key:
            continue
        query = (
            "SELECT r.line, r.starts, r.offsets, i.height, i.width, i.path FROM runs r JOIN items i "
            f"ON i.{key} = r.id WHERE r.source = ? AND i.role = 'image' ORDER BY r.line"
        )
        rows = [(*row[:3], row[3] * row[4], f"{row[3]}x{row[4]}", row[5]) for row in ctx.store.rows(query, source)]
        # Runs are counted from the first pixel, or each from the end of the one before: as most rows fit.
        fits = [sum(0 <= row[way] <= row[3] for row in rows) for way in (1, 2)]
        way = 1 if fits[0] >= fits[1] else 2
        wrong = Collector()
        for row in rows:
            if not 0 <= row[way] <= row[3]:
                reach = f"runs up to pixel {row[way]}" if row[way] >= 0 else "no pairs of whole numbers"
                wrong.add(f"{source}:{row[0]}", f"{reach}, image {row[4]} in {row[5]}")
        if rows:
            ctx.evidence.add(PairGeometry(pairs=len(rows), shape_differs=wrong.count, shape_examples=wrong.examples))


def _match(ctx: AuditRoom) -> None:
    """Pairs within one array file, then by case, then by the words that the paths share."""
    store = ctx.store
    store.run(
        "INSERT INTO pairs SELECT m.id, i.id FROM items m JOIN items i ON i.path = m.path AND i.item = m.item "
        "WHERE m.role = 'mask' AND i.role = 'image' AND m.pair_scope <> '' AND i.pair_scope = m.pair_scope"
    )
    free = "m.role = 'mask' AND m.id NOT IN (SELECT mask FROM pairs)"
    apart = "AND (i.home = '' OR m.home = '' OR i.home = m.home)"
    store.run(
        "INSERT INTO pairs SELECT m.id, i.id FROM items m JOIN items i ON i.case_key = m.case_key "
        f"WHERE {free} AND i.role = 'image' AND i.kind = m.kind {apart}"
    )
    store.run(
        "INSERT INTO pairs SELECT m.id, i.id FROM items m JOIN items i ON i.case_key = m.case_key "
        f"WHERE {free} AND i.role = 'image' AND i.kind <> 'dicom' {apart}"
    )
    store.function("whole_case", 1, whole_case)
    store.run(
        "INSERT INTO pairs SELECT m.id, i.id FROM items m JOIN items i ON i.case_key = whole_case(m.path) "
        f"WHERE {free} AND i.role = 'image' AND i.kind = m.kind AND m.item < 0 {apart}"
    )
    rest = [
        Place(*row)
        for row in store.rows(
            f"SELECT m.id, m.path, m.home FROM items m WHERE {free} AND m.kind <> 'dicom' AND m.item < 0"
        )
    ]
    if not rest:
        return
    known = "role = 'image' AND kind <> 'dicom' AND item < 0"
    if store.count(f"SELECT COUNT(*) FROM items WHERE {known}") > GIVEN_UP:
        ctx.skip("images and masks", f"more than {GIVEN_UP} images: masks are paired by equal names only")
        return
    images = [Place(*row) for row in store.rows(f"SELECT id, path, home FROM items WHERE {known} ORDER BY path")]
    paired = "role = 'mask' AND kind <> 'dicom' AND item < 0 AND id IN (SELECT mask FROM pairs)"
    others = [str(path) for (path,) in store.rows(f"SELECT path FROM items WHERE {paired}")]
    store.fill("pairs", pair(rest, images, others))


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
    """Shapes differ, axes of length 1, colour channels, and the channels or times of a volume aside."""
    first = [size for size in image.split("x") if size != "1"]
    second = [size for size in mask.split("x") if size != "1"]
    if first == second:
        return False
    if len(first) == 4 and len(second) == 3:  # channels last, as NIfTI has them, or first, as arrays have them
        return second not in (first[:-1], first[1:])
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
    elif off > (ROUNDED if image[8] and mask[8] else SPACING_TOLERANCE):
        say = [" x ".join(f"{size:.4g}" for size in side if size is not None) for side in (mask[4:7], image[4:7])]
        spacing.add(name, f"mask {say[0]} mm, image {say[1]} mm in {partner}", off)
    elif image[8] and mask[8]:
        first, second = geometry.unpack(image[8]), geometry.unpack(mask[8])
        dimensions = tuple(int(size) for size in [*mask[3].split("x"), "1", "1", "1"][:3])
        distance = geometry.corner_distance(first, second, dimensions)
        voxels = distance / float(np.min(geometry.voxel_sizes(first)))
        if voxels > CORNER_TOLERANCE:
            displaced.add(name, f"{distance:.3g} mm = {voxels:.3g} voxels away from {partner}", voxels)
