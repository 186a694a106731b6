"""Images that occur twice, and what the splits share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data import perceptual
from traindx.data.audit import classes
from traindx.data.audit.context import AuditRoom, Collector, batched, grouped, item_name
from traindx.data.join import matching_column
from traindx.data.layout.survey import HASH
from traindx.data.names import case_key, is_placeholder
from traindx.data.pixels import THUMB
from traindx.data.read_dicom import FOLDER_SERIES
from traindx.evidence.dataset import Copies, SplitOverlap

RECORDED = 0.9
"""Correlation of detail from which a proposed pair is recorded; rules decide from which one it is a copy."""

OWN = 0.8
"""Correlation of what is left of the detail without what all images share, such as the round field of a fundus camera.
Copies keep theirs (a copy at 0.99 in a set that is alike to 0.9 keeps 0.9); different eyes at 0.95 keep a half."""

SEQUENCE = 0.98
"""Correlation below which two images whose numbers follow one another are taken for neighbouring slices or frames:
slices of one head reach 0.95, frames of one video 0.97; copies that were rescaled or recompressed lie above."""

MIN_IMAGES = 12
"""Images from which on their mean says what they share; the mean of few is made of the copies themselves."""

LARGEST = 60_000
"""Cases up to which every pair is compared: about ten seconds on one core."""

_MOST_PAIRS = 4_000_000
_PART = 2048


@dataclass(slots=True)
class Pair:
    """Two cases that look alike."""

    first: int
    second: int
    mirror: int
    correlation: float


@dataclass
class Cases:
    """Every case (volume, image or series) once, with its thumbnail.

    Attributes:
        numbers: Its row in the store.
        names: Its file, and item inside it.
        keys: Its case key, patient, split and the hash of its pixels (of its middle slice, for a series).
        thumbs: Shape (n, 32, 32).
    """

    numbers: list[int]
    names: list[str]
    keys: list[tuple[str, str, str, bytes]]
    thumbs: NDArray[np.uint8]


def audit(ctx: AuditRoom) -> None:
    """Write :class:`Copies` and, where splits are known, :class:`SplitOverlap` for every kind of identity."""
    _identical(ctx)
    sizes = {
        split: int(count)
        for split, count in ctx.store.rows(
            "SELECT split, COUNT(*) FROM items WHERE split <> '' AND role = 'image' GROUP BY split ORDER BY split"
        )
    }
    if len(sizes) > 1:
        _identities(ctx, sizes)
    _rows(ctx, sizes)
    _near(ctx, sizes if len(sizes) > 1 else {})


def _identical(ctx: AuditRoom) -> None:
    """Images that are one and the same, but for those of different splits only, which are a leak."""
    real = "role = 'image' AND vmax > vmin"
    found = Collector()
    copies = contrary = 0
    query = (
        f"SELECT digest, path, item, key, name, split, id FROM items WHERE {real} AND digest IN "
        f"(SELECT digest FROM items WHERE {real} GROUP BY digest HAVING COUNT(*) > 1) ORDER BY digest, path, item"
    )
    for _, rows in grouped(ctx.store.rows(query)):
        names = [item_name(*row[1:5]) for row in rows]
        splits = {row[5] for row in rows}
        differ = _labels_differ(ctx, [row[6] for row in rows])
        if ctx.notes.get("class folders"):
            differ = differ or len({classes.of(row[1]) for row in rows}) > 1
        if not differ and "" not in splits and len(splits) == len(rows):
            continue  # D108 says so
        copies += len(rows) - 1
        contrary += differ
        said = ", ".join(names[1:4]) + (", ..." if len(names) > 4 else "")
        found.add(names[0], f"the same pixels as {said}" + (", with another label" if differ else ""))
    ctx.evidence.add(
        Copies(
            identity="pixels",
            images=ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {real}"),
            groups=found.count,
            copies=copies,
            different_labels=contrary,
            examples=found.examples,
        )
    )


def _labels_differ(ctx: AuditRoom, numbers: list[int]) -> bool:
    """True if one label table says different things of images that are one and the same."""
    for (source,) in list(ctx.store.rows("SELECT DISTINCT source FROM labels")):
        key = matching_column(ctx.store, "labels", source)
        if not key:
            continue
        query = (
            f"SELECT l.name, l.value FROM labels l JOIN items i ON i.{key} = l.id "
            "WHERE i.id = ? AND l.source = ? AND l.value <> 0 ORDER BY l.name"
        )
        said = [tuple(ctx.store.rows(query, number, source)) for number in numbers]
        if len({labels for labels in said if labels}) > 1:
            return True
    return False


def _identities(ctx: AuditRoom, sizes: dict[str, int]) -> None:
    """Patients, studies, series, rows of split tables and identical pixels in two splits."""
    for identity, column in (("patient", "patient"), ("study", "study"), ("series", "series"), ("pixels", "digest")):
        known = f"role = 'image' AND split <> '' AND {column} <> '' AND vmax > vmin"
        if identity == "series":
            known += f" AND {column} NOT LIKE '{FOLDER_SERIES}%'"
        members = ctx.store.count(f"SELECT COUNT(DISTINCT {column}) FROM items WHERE {known}")
        if not members:
            if identity == "patient":
                ctx.skip("patients in two splits", "no patient identifiers are known (DICOM, a patient column, sub-01)")
            continue
        shared = f"SELECT {column} FROM items WHERE {known} GROUP BY {column} HAVING COUNT(DISTINCT split) > 1"
        found = Collector()
        images = 0
        query = (
            f"SELECT {column}, split, COUNT(*), MIN(path), MIN(item), MIN(key) FROM items WHERE {known} "
            f"AND {column} IN ({shared}) GROUP BY {column}, split ORDER BY {column}, split"
        )
        for value, rows in grouped(ctx.store.rows(query)):
            if identity == "patient" and is_placeholder(str(value)):
                continue
            images += sum(row[2] for row in rows)
            where = ", ".join(f"{row[2]} in {row[1]}" for row in rows)
            name = item_name(*rows[0][3:6])
            if identity == "pixels":  # which of the two to remove is asked next
                where += "; the same as " + ", ".join(item_name(*row[3:6]) for row in rows[1:])
                found.add(name, where)
            else:
                found.add(name, f"{identity} {value}: {where}")
        studies = ctx.store.count(f"SELECT COUNT(DISTINCT study) FROM items WHERE {known} AND study <> ''")
        usable = not (identity == "patient" and members == 1 and studies > 1)
        if not usable:
            ctx.skip("patients in two splits", f"all {studies} studies carry one and the same patient identifier")
        ctx.evidence.add(
            SplitOverlap(
                identity=identity,
                splits=sizes,
                members=members,
                shared=found.count,
                images=images,
                usable=usable,
                examples=found.examples,
            )
        )


def _rows(ctx: AuditRoom, sizes: dict[str, int]) -> None:
    """Cases that one split table puts into two splits."""
    found = Collector()
    query = (
        "SELECT id, GROUP_CONCAT(DISTINCT split) FROM splits WHERE source <> 'images' "
        "GROUP BY source, id HAVING COUNT(DISTINCT split) > 1 ORDER BY id"
    )
    for name, splits in ctx.store.rows(query):
        found.add(str(name), f"in {str(splits).replace(',', ' and ')}")
    members = ctx.store.count("SELECT COUNT(DISTINCT id) FROM splits WHERE source <> 'images'")
    if members:
        ctx.evidence.add(
            SplitOverlap(identity="case", splits=sizes, members=members, shared=found.count, examples=found.examples)
        )


def _near(ctx: AuditRoom, sizes: dict[str, int]) -> None:
    total = ctx.store.count(
        "SELECT COUNT(*) FROM (SELECT DISTINCT CASE kind WHEN 'dicom' THEN series ELSE id END FROM items "
        "WHERE role = 'image' AND vmax > vmin)"
    )
    if total < 2:
        return
    if total > LARGEST:
        ctx.skip("near-duplicates", f"{total} cases are more than the {LARGEST} that are compared pair by pair")
        return
    everything = cases(ctx)
    pairs = _find(ctx, everything)
    inside, across = Collector(worst_first=True), Collector(worst_first=True)
    for pair in pairs:
        one, two = everything.keys[pair.first], everything.keys[pair.second]
        how = perceptual.MIRRORS[pair.mirror]
        detail = f"like {everything.names[pair.second]}, correlation {pair.correlation:.3f}" + (
            f", {how}" if how else ""
        )
        if one[2] and two[2] and one[2] != two[2]:
            across.add(everything.names[pair.first], f"{detail}; in {one[2]} and {two[2]}", pair.correlation)
        elif pair.correlation >= SEQUENCE or not _follow(one[0], two[0]):
            inside.add(everything.names[pair.first], detail, pair.correlation)
    ctx.notes["near"] = [(everything.numbers[pair.first], everything.numbers[pair.second]) for pair in pairs[:8]]
    ctx.evidence.add(
        Copies(
            identity="near-duplicate",
            images=total,
            groups=inside.count,
            copies=inside.count,
            examples=inside.examples,
        )
    )
    if sizes:
        ctx.evidence.add(
            SplitOverlap(
                identity="near-duplicate",
                splits=sizes,
                members=total,
                shared=across.count,
                images=2 * across.count,
                examples=across.examples,
            )
        )


def cases(ctx: AuditRoom) -> Cases:
    """Every case once: a volume shows its middle slice, a DICOM series likewise."""
    names: list[str] = []
    keys: list[tuple[str, str, str, bytes]] = []
    thumbs: list[NDArray[np.uint8]] = []
    numbers: list[int] = []
    for number, name, key, thumb in _each(ctx):
        numbers.append(number)
        names.append(name)
        keys.append(key)
        thumbs.append(thumb)
    stacked = np.stack(thumbs) if thumbs else np.zeros((0, THUMB, THUMB), np.uint8)
    return Cases(numbers, names, keys, stacked)


def _each(ctx: AuditRoom) -> Iterator[tuple[int, str, tuple[str, str, str, bytes], NDArray[np.uint8]]]:
    columns = "id, path, item, key, name, case_key, patient, split, thumb, digest"
    real = "role = 'image' AND vmax > vmin"
    query = f"SELECT {columns} FROM items WHERE {real} AND kind <> 'dicom' ORDER BY path, item, key"
    for rows in batched(ctx.store.rows(query), 1024):
        for number, path, item, key, name, case, patient, split, thumb, digest in rows:
            known = (_without_hash(case), patient, split, digest)
            yield number, item_name(path, item, key, name), known, _thumb(thumb)
    query = f"SELECT series, {columns} FROM items WHERE {real} AND kind = 'dicom' ORDER BY series, position, path"
    for _, rows in grouped(ctx.store.rows(query)):
        _, number, path, item, key, _, case, patient, split, thumb, digest = rows[len(rows) // 2]
        yield number, item_name(path, item, key), (case, patient, split, digest), _thumb(thumb)


def _without_hash(case: str) -> str:
    """A case without the hash that an export tool has put behind its name: ``p7_t1.rf.9c2e…`` is of ``p7``."""
    return " ".join(HASH.sub(" ", case).split())


def _thumb(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).reshape(THUMB, THUMB)


def _find(ctx: AuditRoom, everything: Cases) -> list[Pair]:
    """Pairs of different cases and patients whose detail correlates, the most alike first."""
    thumbs = everything.thumbs
    codes = perceptual.hashes(thumbs)
    found: dict[tuple[int, int], Pair] = {}
    looked = 0
    common = _common(thumbs)
    for mirror in range(len(perceptual.MIRRORS)):
        turned = perceptual.mirrored(thumbs, mirror)
        query = codes if mirror == 0 else perceptual.hashes(turned)
        shared = None if common is None else (_common(turned) if mirror else common, common)
        for pairs in perceptual.proposals(codes, query, symmetric=mirror == 0):
            looked += len(pairs)
            for part in (pairs[start : start + _PART] for start in range(0, len(pairs), _PART)):
                for first, second, value in _alike(turned, thumbs, part, shared):
                    known = found.get((first, second))
                    if _compared(everything.keys[first], everything.keys[second]) and (
                        known is None or known.correlation < value
                    ):
                        found[first, second] = Pair(first, second, mirror, value)
            if looked > _MOST_PAIRS:
                ctx.skip("near-duplicates", f"the images are too much alike: {looked} pairs were compared, not all")
                return _ordered(found)
    return _ordered(found)


def _ordered(found: dict[tuple[int, int], Pair]) -> list[Pair]:
    return sorted(found.values(), key=lambda pair: (-pair.correlation, pair.first, pair.second))


def _common(thumbs: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """The mean detail of all images, or None where they are too few to have one."""
    if len(thumbs) < MIN_IMAGES:
        return None
    parts = (thumbs[start : start + _PART] for start in range(0, len(thumbs), _PART))
    total = sum(perceptual.details(part).sum(axis=0, dtype=np.float64) for part in parts)
    return np.asarray(total / len(thumbs), np.float32)


def _alike(
    turned: NDArray[np.uint8],
    thumbs: NDArray[np.uint8],
    pairs: NDArray[np.int64],
    shared: tuple[Any, Any] | None,
) -> Iterator[tuple[int, int, float]]:
    """Proposed pairs whose correlation of detail is worth recording, and is not that of all images with one another."""
    if not len(pairs):
        return
    one, two = perceptual.details(turned[pairs[:, 0]]), perceptual.details(thumbs[pairs[:, 1]])
    products = np.einsum("nd,nd->n", one, two)
    keep = products >= RECORDED
    if shared is not None and keep.any():
        first, second = one - shared[0], two - shared[1]
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        keep &= np.einsum("nd,nd->n", first, second) >= OWN * np.maximum(norms, 1e-12)
    for number in np.flatnonzero(keep):
        yield int(pairs[number, 0]), int(pairs[number, 1]), float(products[number])


_NUMBER = re.compile(r"\d+")


def _follow(one: str, two: str) -> bool:
    """True for two cases that differ in one number only, by one or two: ``im10 39`` and ``im11 39``."""
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", two):
        return False
    apart = [abs(int(a) - int(b)) for a, b in zip(_NUMBER.findall(one), _NUMBER.findall(two), strict=True) if a != b]
    return len(apart) == 1 and apart[0] <= 2


def _compared(one: tuple[str, str, str, bytes], two: tuple[str, str, str, bytes]) -> bool:
    """Likeness means something unless it is explained: identical pixels, or one patient or case within one split."""
    if one[3] and one[3] == two[3]:
        return False
    if one[2] != two[2]:
        return True
    # One file may call a patient what another one calls its case.
    first = {one[0], case_key([], one[1])} - {""}
    second = {two[0], case_key([], two[1])} - {""}
    return not first & second
