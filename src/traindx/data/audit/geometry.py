"""Spacing and orientation by set: volumes one by one, DICOM by series."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from traindx.data.audit.context import AuditRoom, Collector, grouped, item_name, spread
from traindx.evidence.dataset import GeometrySpread, Share

OBLIQUE_DEGREES = 1.0
"""Tilt from which a volume counts as oblique; scanners write axial series with tilts of a few hundredths of a "
"degree."""


@dataclass(slots=True)
class Member:
    """Geometry of one volume or series: in-plane mm (two), slice distance (NaN for an image), code, tilt, shape."""

    name: str
    rows_mm: float
    columns_mm: float
    slice_mm: float
    code: str
    tilt: float
    shape: str


def audit(ctx: AuditRoom) -> None:
    """Write a :class:`GeometrySpread` for every set of images, and of masks without image, whose spacing is known."""
    for name in (*ctx.sets(), *ctx.sets("mask")):
        members = list(_members(ctx, name))
        if len(members) > 1:
            _write(ctx, name, members)


def _members(ctx: AuditRoom, name: str) -> Iterator[Member]:
    columns = "path, item, key, spacing0, spacing1, spacing2, orient, oblique, shape, position"
    known = (
        "set_name = ? AND spacing0 IS NOT NULL "
        "AND (role = 'image' OR id NOT IN (SELECT mask FROM pairs))"  # masks with an image are compared with it
    )
    query = f"SELECT {columns} FROM items WHERE {known} AND kind <> 'dicom' ORDER BY path, item"
    for path, item, key, first, second, third, code, tilt, shape, _ in ctx.store.rows(query, name):
        where = item_name(path, item, key)
        if third is None:
            yield Member(where, first, second, math.nan, code, _number(tilt), shape)
        else:
            yield _volume(where, (first, second, third), code, _number(tilt), shape)
    query = f"SELECT series, {columns} FROM items WHERE {known} AND kind = 'dicom' ORDER BY series, position, path"
    for _, rows in grouped(ctx.store.rows(query, name)):
        _, path, _, _, first, second, _, code, tilt, shape, _ = rows[0]
        positions = np.array([row[10] for row in rows if row[10] is not None], np.float64)
        steps = np.diff(np.unique(positions))
        distance = float(np.median(steps)) if steps.size else math.nan
        yield Member(path, first, second, distance, code, _number(tilt), f"{shape}, {len(rows)} slices")


def _volume(name: str, sizes: tuple[float, float, float], code: str, tilt: float, shape: str) -> Member:
    """The voxel edge furthest from the other two, by ratio, is the slice distance, wherever that axis lies."""
    low, middle, high = sorted(sizes)
    odd = high if high * low >= middle * middle else low
    rest = list(sizes)
    rest.remove(odd)
    return Member(name, rest[0], rest[1], odd, code, tilt, shape)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _write(ctx: AuditRoom, name: str, members: list[Member]) -> None:
    in_plane = np.array([math.sqrt(member.rows_mm * member.columns_mm) for member in members])
    depth = np.array([member.slice_mm for member in members])
    edges = np.array([[member.rows_mm, member.columns_mm, member.slice_mm] for member in members])
    has_depth = bool(np.isfinite(depth).any())
    anisotropy = np.nanmax(edges, axis=1) / np.maximum(np.nanmin(edges, axis=1), 1e-9)
    codes = Counter(member.code for member in members if member.code)
    usual = codes.most_common(1)[0][0] if codes else ""
    rare = Collector()
    off = np.abs(np.log(np.maximum(in_plane, 1e-9) / np.median(in_plane)))
    if has_depth:
        off = np.maximum(off, np.nan_to_num(np.abs(np.log(np.maximum(depth, 1e-9) / np.nanmedian(depth)))))
    far = Collector(worst_first=True)
    for member, distance in zip(members, off, strict=True):
        if member.code and member.code != usual:
            rare.add(member.name, f"{member.code}, the others {usual}")
        if distance > 0.01:
            size = f"{member.rows_mm:.3g} x {member.columns_mm:.3g}"
            size += f" x {member.slice_mm:.3g} mm" if member.slice_mm == member.slice_mm else " mm"
            far.add(member.name, f"{size}, shape {member.shape}", float(distance))
    tilts = np.array([member.tilt for member in members])
    oblique = np.nan_to_num(tilts) > OBLIQUE_DEGREES
    ctx.evidence.add(
        GeometrySpread(
            name=name,
            modality=str(ctx.store.one("SELECT modality FROM items WHERE set_name = ? LIMIT 1", name)[0] or ""),
            members=len(members),
            in_plane_mm=spread(in_plane),
            slice_mm=spread(depth) if has_depth else None,
            anisotropy=spread(anisotropy),
            orientations=tuple(Share(value=code, count=count) for code, count in codes.most_common()),
            oblique=int(oblique.sum()),
            oblique_degrees=float(np.nanmax(tilts)) if np.isfinite(tilts).any() else 0.0,
            shapes=len({member.shape.split(",")[0] for member in members}),
            examples=far.examples,
            orientation_examples=rare.examples,
        )
    )
