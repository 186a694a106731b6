"""Polarity, bit depth and windows: what a loader that looks at nothing but pixels would get wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from traindx.data.audit.context import AuditRoom, Collector, batched, item_name
from traindx.evidence.dataset_intensities import BitDepth, DisplayWindow, Polarity

SAMPLE = 512
"""Thumbnails that the common appearance of a set is computed from."""

COARSE = 32
"""Grey values below which an image counts as coarse: 5 bits."""

_ENOUGH = 1024
_MIN_IMAGES = 8
_OPPOSITE = -0.5
_ALIKE = 0.3


def audit(ctx: AuditRoom) -> None:
    """Write :class:`Polarity`, :class:`BitDepth` and :class:`DisplayWindow` for every set of images."""
    for name in ctx.sets():
        _polarity(ctx, name)
        _bit_depth(ctx, name)
        _window(ctx, name)


def _polarity(ctx: AuditRoom, name: str) -> None:
    where = "set_name = ? AND photometric = ?"

    def count(photometric: str) -> int:
        return ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {where}", name, photometric)

    opposite = _opposite(ctx, name)
    ctx.evidence.add(
        Polarity(
            name=name,
            members=ctx.store.count("SELECT COUNT(*) FROM items WHERE set_name = ?", name),
            monochrome1=count("MONOCHROME1"),
            monochrome2=count("MONOCHROME2"),
            monochrome1_examples=ctx.examples("photometric", where, lambda value: value, name, "MONOCHROME1"),
            opposite=opposite.count,
            opposite_correlation=_OPPOSITE,
            opposite_examples=opposite.examples,
        )
    )


def _opposite(ctx: AuditRoom, name: str) -> Collector:
    """Images whose thumbnail is the negative of what the set has in common (its first principal component)."""
    found = Collector(worst_first=True)
    # CT, MR and PET have no negatives; slices of a body part are not alike enough to tell either.
    flat = "set_name = ? AND vmax > vmin AND shape NOT LIKE '%x%x%' AND modality NOT IN ('CT', 'MR', 'PT')"
    total = ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {flat}", name)
    if total < _MIN_IMAGES:
        return found
    step = max(1, total // SAMPLE)
    query = f"SELECT path, item, key, thumb FROM items WHERE {flat} ORDER BY path, item"
    sample = [row[3] for number, row in enumerate(ctx.store.rows(query, name)) if number % step == 0]
    common = common_appearance(standardised(sample))
    loadings = standardised(sample) @ common
    sign = 1.0 if np.median(loadings) >= 0 else -1.0
    if np.median(np.abs(loadings)) < _ALIKE:
        return found
    for rows in batched(ctx.store.rows(query, name), 1024):
        correlations = standardised([row[3] for row in rows]) @ common * sign
        for number in np.flatnonzero(correlations <= _OPPOSITE):
            path, item, key, _ = rows[number]
            value = float(correlations[number])
            found.add(item_name(path, item, key), f"correlation {value:.2f} with the rest", -value)
    return found


def standardised(thumbs: list[bytes]) -> NDArray[np.float32]:
    """Thumbnails as unit vectors of mean zero, shape (n, 1024); their products are correlations."""
    values = np.frombuffer(b"".join(thumbs), np.uint8).reshape(len(thumbs), -1).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    result: NDArray[np.float32] = values / np.maximum(norms, 1e-6)
    return result


def common_appearance(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """First right singular vector of unit vectors (n, d), by power iteration on the smaller Gram matrix."""
    gram = vectors @ vectors.T
    weights = np.ones(len(vectors), np.float32) / len(vectors) + np.arange(len(vectors), dtype=np.float32) * 1e-6
    for _ in range(50):
        weights = gram @ weights
        weights /= max(float(np.linalg.norm(weights)), 1e-12)
    common: NDArray[np.float32] = weights @ vectors
    return common / max(float(np.linalg.norm(common)), 1e-12)


def _bit_depth(ctx: AuditRoom, name: str) -> None:
    files = "set_name = ? AND kind = 'image'"
    members = ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {files}", name)
    if not members:
        return
    deep = f"{files} AND bits > 8"
    average, largest = ctx.store.one(f"SELECT AVG(above_255), MAX(vmax) FROM items WHERE {deep}", name)
    odd = f"{files} AND photometric IN ('colour', 'palette')"

    def count(selection: str) -> int:
        return ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {selection}", name)

    ctx.evidence.add(
        BitDepth(
            name=name,
            members=members,
            deep=count(deep),
            above_255=float(average or 0.0),
            largest=float(largest or 0.0),
            shallow=count(f"{files} AND bits <= 8"),
            colour=count(f"{files} AND photometric = 'colour'"),
            palette=count(f"{files} AND photometric = 'palette'"),
            examples=ctx.examples("bits, vmax", deep, lambda bits, top: f"{bits} bits, values up to {top:g}", name),
            colour_examples=ctx.examples("photometric", odd, lambda value: value, name),
        )
    )


def _window(ctx: AuditRoom, name: str) -> None:
    windowed = "set_name = ? AND window_inside IS NOT NULL"
    shallow = "set_name = ? AND bits <= 8 AND bits > 1 AND vmax > vmin"
    (inside,) = ctx.columns("window_inside", windowed, name)
    (saturated,) = ctx.columns("at_min + at_max", shallow, name)
    starved = f"{windowed} AND window_inside < 0.1"
    burnt = f"{shallow} AND at_max > 0.25 AND photometric <> 'colour'"  # the white of a slide is the lamp's
    large = f"set_name = ? AND vmax > vmin AND voxels >= {_ENOUGH}"
    images = ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {large}", name)
    if not inside.size and not saturated.size and not images:
        return
    coarse = f"{large} AND levels < {COARSE}"
    ctx.evidence.add(
        DisplayWindow(
            name=name,
            modality=str(ctx.store.one("SELECT modality FROM items WHERE set_name = ? LIMIT 1", name)[0] or ""),
            windowed=int(inside.size),
            inside=float(np.median(inside)) if inside.size else 1.0,
            starved=ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {starved}", name),
            starved_examples=ctx.examples(
                "window_center, window_width, p01, p99, window_inside",
                starved,
                lambda c, w, low, high, share: (
                    f"window {c:g} +- {w / 2:g} on values {low:g} to {high:g}: {share:.1%} inside",
                    share,
                ),
                name,
                order="window_inside",
            ),
            eight_bit=int(saturated.size),
            saturated=float(np.median(saturated)) if saturated.size else 0.0,
            burnt=ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {burnt}", name),
            burnt_examples=ctx.examples(
                "at_min, at_max, levels",
                burnt,
                lambda low, high, values: (f"{high:.0%} white, {low:.0%} black, {values} grey values", high),
                name,
                order="at_max DESC",
            ),
            images=images,
            coarse=ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {coarse}", name),
            coarse_levels=COARSE,
            coarse_examples=ctx.examples(
                "levels, vmin, vmax",
                coarse,
                lambda levels, low, high: (f"{levels} values between {low:g} and {high:g}", levels),
                name,
                order="levels",
            ),
        )
    )
