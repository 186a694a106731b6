"""Grey values by set: what they are, whether CT can be Hounsfield units, whether files agree on a scale."""

from __future__ import annotations

import numpy as np

from traindx.data.audit.context import EXAMPLES, AuditRoom, item_name, spread
from traindx.evidence.dataset import Example, ImageSet, Share
from traindx.evidence.dataset_intensities import HounsfieldFacts, IntensitySpread, NonFiniteVoxels

_AIR = -200.0
_SHIFTED_TISSUE = 800.0


def audit(ctx: AuditRoom) -> None:
    """Write :class:`ImageSet`, :class:`IntensitySpread`, :class:`HounsfieldFacts` and :class:`NonFiniteVoxels`."""
    for role in ("image", "mask"):
        for name in ctx.sets(role):
            _set(ctx, name, role)
    for name in ctx.sets():
        _intensity(ctx, name)
        if _modality(ctx, name) == "CT":
            _hounsfield(ctx, name)
    _non_finite(ctx)


def _modality(ctx: AuditRoom, name: str) -> str:
    return str(ctx.store.one("SELECT modality FROM items WHERE set_name = ? LIMIT 1", name)[0] or "")


def _set(ctx: AuditRoom, name: str, role: str) -> None:
    count, files = ctx.store.one("SELECT COUNT(*), COUNT(DISTINCT path) FROM items WHERE set_name = ?", name)
    constant = "set_name = ? AND vmin = vmax AND role = 'image'"
    ctx.evidence.add(
        ImageSet(
            name=name,
            role=role,
            modality=_modality(ctx, name),
            count=count,
            files=files,
            shapes=ctx.tally("shape", "set_name = ?", name),
            dtypes=ctx.tally("dtype", "set_name = ?", name),
            volumes=" 3D " in f" {name} ",
            constant=ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {constant}", name),
            constant_examples=ctx.examples("vmin, shape", constant, lambda v, s: f"{v:g} everywhere, {s}", name),
        )
    )


_CASES = (
    "SELECT MIN(path) AS path, item, key, dtype, COUNT(*) AS files, MIN(p01) AS low, MAX(p99) AS high FROM items "
    "WHERE set_name = ? AND p99 > p01 GROUP BY CASE kind WHEN 'dicom' THEN series ELSE CAST(id AS TEXT) END, dtype"
)
"""Lowest and highest percentile of every case. The slices of a series are one: the uppermost of a head is darker than
the others and on the same scale."""


def _intensity(ctx: AuditRoom, name: str) -> None:
    table = np.array(list(ctx.store.rows(f"SELECT low, high FROM ({_CASES})", name)), dtype=np.float64).reshape(-1, 2)
    if not len(table):
        return
    low, high = table.T
    types = f"SELECT dtype, COUNT(*) FROM ({_CASES}) GROUP BY dtype ORDER BY COUNT(*) DESC, dtype"
    dtypes = [(str(dtype), int(count)) for dtype, count in ctx.store.rows(types, name)]
    ranges = {}
    for dtype, _ in dtypes:
        of_type = [row[0] for row in ctx.store.rows(f"SELECT high - low FROM ({_CASES}) WHERE dtype = ?", name, dtype)]
        ranges[dtype] = float(np.median(of_type))
    ctx.evidence.add(
        IntensitySpread(
            name=name,
            modality=_modality(ctx, name),
            members=len(table),
            dynamic_range=spread(high - low),
            low=spread(low),
            high=spread(high),
            dtypes=tuple(Share(value=dtype, count=count) for dtype, count in dtypes[:20]),
            dtype_range=ranges,
            narrow_examples=_by_range(ctx, name, "ASC"),
            wide_examples=_by_range(ctx, name, "DESC"),
        )
    )


def _by_range(ctx: AuditRoom, name: str, order: str) -> tuple[Example, ...]:
    query = f"SELECT * FROM ({_CASES}) ORDER BY high - low {order}, path, item LIMIT {EXAMPLES}"
    return tuple(
        Example(
            name=item_name(path, item, key),
            detail=f"1st to 99th percentile {low:g} to {high:g}, {dtype}" + (f", {files} slices" if files > 1 else ""),
            value=high - low,
        )
        for path, item, key, dtype, files, low, high in ctx.store.rows(query, name)
    )


def _hounsfield(ctx: AuditRoom, name: str) -> None:
    where = "set_name = ?"
    eight_bit = f"{where} AND (bits <= 8 OR dtype IN ('uint8', 'int8'))"
    unit = f"{where} AND vmin >= -1.001 AND vmax <= 1.001 AND vmax > vmin AND dtype LIKE 'float%'"
    airless = (
        f"{where} AND p01 > {_AIR} AND vmax > 1.001 AND bits > 8 AND dtype NOT IN ('uint8', 'int8') AND vmax > vmin"
    )
    shifted = f"{airless} AND vmin >= 0 AND p99 > {_SHIFTED_TISSUE} AND p01 < 200"
    raw = f"{where} AND rescaled = 0 AND kind = 'dicom'"
    padded = f"{where} AND below_air > 0"

    def count(selection: str) -> int:
        return ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {selection}", name)

    def say_range(p01: float, p50: float, p99: float) -> str:
        return f"1st, 50th, 99th percentile {p01:g}, {p50:g}, {p99:g}"

    worst, _ = ctx.store.one(f"SELECT MAX(below_air), 0 FROM items WHERE {padded}", name)
    ctx.evidence.add(
        HounsfieldFacts(
            name=name,
            modality_from=str(ctx.store.one("SELECT modality_from FROM items WHERE set_name = ? LIMIT 1", name)[0]),
            members=count(where),
            without_rescale=count(raw),
            without_rescale_examples=ctx.examples("p01, p50, p99", raw, say_range, name),
            eight_bit=count(eight_bit),
            eight_bit_examples=ctx.examples("vmin, vmax", eight_bit, lambda a, b: f"values {a:g} to {b:g}", name),
            padded=count(padded),
            padded_share=float(worst or 0.0),
            padding_values=tuple(
                Share(value=f"{float(share.value):g}", count=share.count)
                for share in ctx.tally("below_value", padded, name)[:6]
            ),
            padded_examples=ctx.examples(
                "below_value, below_air",
                padded,
                lambda value, share: (f"{value:g} HU in {share:.1%} of the pixels", share),
                name,
                order="below_air DESC",
            ),
            unit_interval=count(unit),
            unit_interval_examples=ctx.examples("vmin, vmax", unit, lambda a, b: f"values {a:.3g} to {b:.3g}", name),
            no_air=count(airless),
            shifted=count(shifted),
            no_air_examples=ctx.examples("p01, p50, p99", airless, say_range, name),
        )
    )


def _non_finite(ctx: AuditRoom) -> None:
    for role, subject in (("image", "images on disk"), ("mask", "masks on disk")):
        members = ctx.store.count("SELECT COUNT(*) FROM items WHERE role = ?", role)
        if not members:
            continue
        where = "role = ? AND nonfinite > 0"
        ctx.evidence.add(
            NonFiniteVoxels(
                subject=subject,
                members=members,
                affected=ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {where}", role),
                examples=ctx.examples(
                    "nonfinite, voxels",
                    where,
                    lambda bad, total: (f"{bad} of {total} values", bad / max(total, 1)),
                    role,
                    order="nonfinite DESC",
                ),
            )
        )
