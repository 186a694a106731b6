"""What was understood of a folder, in the sentences that open its report."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from traindx.data.layout.survey import HASH
from traindx.data.names import without_suffix
from traindx.evidence import NotExamined
from traindx.evidence.dataset import LayoutFacts

if TYPE_CHECKING:
    from traindx.data.audit.context import AuditRoom

_MOST = 4
_DIGITS = re.compile(r"\d+")
_UID = re.compile(r"\d+(?:\.\d+){3,}")


def write(ctx: AuditRoom) -> None:
    """Write :class:`LayoutFacts`."""
    said = _series(ctx)
    said += _pairs(ctx)
    said += _unpaired(ctx)
    said += _splits(ctx)
    said += ctx.notes.get("table lines", [])
    others = ctx.store.count("SELECT COUNT(*) FROM items WHERE role = 'other'")
    if others:
        verb = "is" if others == 1 else "are"
        said.append(f"{_count(others, 'picture')} {verb} neither image nor mask ({_others(ctx)})")
    said += _burned_in(ctx)
    subjects = ("masks in", "table ")
    unclear = [
        f"{one.subject}: {one.reason}" for one in ctx.evidence.of(NotExamined) if one.subject.startswith(subjects)
    ]
    convention = ctx.convention
    if convention is not None and convention.says:
        said.append(convention.says)
    ctx.evidence.add(
        LayoutFacts(
            key=convention.key if convention is not None else "",
            title=convention.title if convention is not None else "",
            lines=tuple(said),
            unclear=tuple(unclear),
        )
    )


def shape(path: str) -> str:
    """A path without its numbers, hashes and UIDs: ``labelsTr/organ_003.nii.gz`` gives ``labelsTr/organ_#.nii.gz``."""
    *folders, base = _UID.sub("*", path).split("/")
    suffix = base[len(without_suffix(base)) :]
    stem = _numberless(without_suffix(base))
    kept = [_numberless(part) for part in folders[-2:]]
    return "/".join([*kept, (stem if len(stem) < 24 else "*") + suffix])


def _numberless(part: str) -> str:
    return _DIGITS.sub("#", HASH.sub("*", part))


def _series(ctx: AuditRoom) -> list[str]:
    """How many series the DICOM images make up: what is a case in everything that follows."""
    images, series, single = ctx.store.one(
        "SELECT SUM(n), COUNT(*), SUM(n = 1) FROM (SELECT COUNT(*) AS n FROM items "
        "WHERE kind = 'dicom' AND role = 'image' GROUP BY series)"
    )
    if not images:
        return []
    lone = "" if not single or single == series else f", {single} of them single images"
    return [f"{_count(images, 'DICOM image')} in {series} series{lone}"]


def _pairs(ctx: AuditRoom) -> list[str]:
    if not ctx.store.count("SELECT COUNT(*) FROM sqlite_master WHERE name = 'pairs'"):
        return []
    ways: Counter[tuple[str, str]] = Counter()
    shapes: dict[tuple[str, str], tuple[Counter[str], Counter[str]]] = defaultdict(lambda: (Counter(), Counter()))
    query = (
        "SELECT m.grp, i.grp, m.path, m.key, i.path, i.key FROM pairs p JOIN items m ON m.id = p.mask "
        "JOIN items i ON i.id = p.image ORDER BY m.path, i.path"
    )
    for left, right, mask, mask_key, image, image_key in ctx.store.rows(query):
        way = (str(left), str(right))
        ways[way] += 1
        if ways[way] <= 200:
            masks, images = shapes[way]
            masks[shape(mask) + (f"#{mask_key}" if mask_key else "")] += 1
            images[shape(image) + (f"#{image_key}" if image_key else "")] += 1
    said = []
    for way, count in ways.most_common(_MOST):
        masks, images = shapes[way]
        said.append(f"masks {_some(masks)} belong to images {_some(images)} ({_count(count, 'pair')})")
    if len(ways) > _MOST:
        said.append(f"and {len(ways) - _MOST} more kinds of pairs")
    return said


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _some(names: Counter[str]) -> str:
    first = [name for name, _ in names.most_common(2)]
    return " and ".join(first) + (f" (and {len(names) - 2} more)" if len(names) > 2 else "")


def _unpaired(ctx: AuditRoom) -> list[str]:
    if not ctx.store.count("SELECT COUNT(*) FROM pairs"):
        return []
    query = (
        "SELECT grp, COUNT(*) FROM items WHERE role = 'image' AND kind <> 'dicom' GROUP BY grp "
        "HAVING SUM(id IN (SELECT image FROM pairs)) = 0 ORDER BY grp"
    )
    found = list(ctx.store.rows(query))
    said = [
        f"{_count(count, 'image')} in {group or os.curdir} without masks, taken to need none"
        for group, count in found[:_MOST]
    ]
    return said + ([f"and {len(found) - _MOST} more folders of images without masks"] if len(found) > _MOST else [])


def _burned_in(ctx: AuditRoom) -> list[str]:
    """Headers know of text in the pixels: a network reads it, and a picture in a report shows it."""
    count = ctx.store.count("SELECT COUNT(*) FROM items WHERE burned_in")
    if not count:
        return []
    (path,) = ctx.store.one("SELECT MIN(path) FROM items WHERE burned_in")
    verb = "says" if count == 1 else "say"
    said = f"{_count(count, 'DICOM image')} {verb} that text is burnt into the pixels (BurnedInAnnotation)"
    return [f"{said}, for example {path}: look before pictures are shown to anybody"]


def _splits(ctx: AuditRoom) -> list[str]:
    query = "SELECT split, COUNT(*) FROM items WHERE role = 'image' AND split <> '' GROUP BY split ORDER BY split"
    found = [f"{split} {count}" for split, count in ctx.store.rows(query)]
    if len(found) == 1 and ctx.store.count("SELECT COUNT(*) FROM items WHERE role = 'image' AND split = ''"):
        return []  # a folder called test_data beside others is no division
    return [f"splits of images: {', '.join(found[:8])}{', ...' if len(found) > 8 else ''}"] if found else []


def _others(ctx: AuditRoom) -> str:
    found: Counter[str] = Counter()
    for (path,) in ctx.store.rows("SELECT path FROM items WHERE role = 'other' ORDER BY path LIMIT 500"):
        found[shape(str(path))] += 1
    return _some(found)
