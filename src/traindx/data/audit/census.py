"""What lies in the folder: files by kind, unreadable ones, formats hidden behind a suffix."""

from __future__ import annotations

import re
from collections import Counter

from traindx.data import kinds
from traindx.data.audit.context import EXAMPLES, AuditRoom, Collector, item_name
from traindx.evidence import Action, NotExamined
from traindx.evidence.dataset import Example, FileCensus, HiddenFormat, Share, UnreadableFiles

_EXPECTED = {
    "dicom": kinds.DICOM_SUFFIXES,
    "nifti": (*kinds.NIFTI_SUFFIXES, ".hdr", ".img"),
    "image": kinds.IMAGE_SUFFIXES,
    "array": kinds.ARRAY_SUFFIXES,
    "volume": kinds.VOLUME_SUFFIXES,
    "container": kinds.CONTAINER_SUFFIXES,
}
_NUMBER = re.compile(r"[0-9][0-9.]*")


def audit(ctx: AuditRoom) -> None:
    """Write :class:`FileCensus`, :class:`UnreadableFiles` and :class:`HiddenFormat`."""
    store = ctx.store
    status = {name: int(count) for name, count in store.rows("SELECT status, COUNT(*) FROM files GROUP BY status")}
    looked = sum(status.get(name, 0) for name in ("read", "unreadable", "not-image", "not-read"))
    by_kind = store.rows(
        "SELECT kind, COUNT(*) AS n FROM files WHERE status = 'read' GROUP BY kind ORDER BY n DESC, kind"
    )
    roles = {name: int(count) for name, count in store.rows("SELECT role, COUNT(*) FROM items GROUP BY role")}
    others: Counter[str] = Counter()
    for (path,) in store.rows("SELECT path FROM files WHERE status = 'ignored' AND kind = ''"):
        others[kinds.suffix_of(path) or "no suffix"] += 1
    ctx.evidence.add(
        FileCensus(
            root=ctx.root,
            files=looked,
            readable=status.get("read", 0),
            unreadable=status.get("unreadable", 0),
            not_images=status.get("not-image", 0),
            not_read=status.get("not-read", 0),
            ignored=status.get("ignored", 0),
            images=roles.get("image", 0),
            masks=roles.get("mask", 0),
            bytes_read=store.count("SELECT SUM(size) FROM files WHERE status IN ('read', 'unreadable')"),
            seconds=float(ctx.notes.get("seconds", 0.0)),
            formats=tuple(Share(value=kind, count=count) for kind, count in by_kind),
            other_formats=tuple(Share(value=kind, count=count) for kind, count in others.most_common(12)),
        )
    )
    if others:
        said = ", ".join(f"{count} {kind}" for kind, count in others.most_common(4))
        ctx.skip("files of other kinds", f"{sum(others.values())} files are of no kind that is read ({said})")
    for reason, path, count in store.rows(
        "SELECT reason, MIN(path), COUNT(*) FROM files WHERE status = 'not-image' GROUP BY reason ORDER BY reason"
    ):
        ctx.skip("files without images", f"{count} x {reason}, for example {path}")
    _not_read(ctx)
    if looked:
        _unreadable(ctx, looked, status.get("unreadable", 0))
        _hidden(ctx)


def _not_read(ctx: AuditRoom) -> None:
    """Files that may be in order and that this machine or installation cannot read, by kind, with what to do."""
    reasons: dict[str, tuple[str, int]] = {}
    query = "SELECT reason, MIN(path), COUNT(*) FROM files WHERE status = 'not-read' GROUP BY reason ORDER BY reason"
    for reason, path, count in ctx.store.rows(query):
        kind = _NUMBER.sub("…", reason)  # sizes differ from file to file
        first, known = reasons.get(kind, (f"{reason}, for example {path}", 0))
        reasons[kind] = (first, known + count)
    for said, count in reasons.values():
        install = "pip install" in said
        action = Action.INSTALL if install else Action.GIVE if "TRAINDX_MAX_IMAGE" in said else Action.NOTHING
        reason = f"{count} x {said}"
        ctx.evidence.add(NotExamined(subject="files that were not read", reason=reason, action=action))


def _unreadable(ctx: AuditRoom, looked: int, count: int) -> None:
    rows = ctx.store.rows("SELECT path, reason FROM files WHERE status = 'unreadable' ORDER BY path LIMIT ?", EXAMPLES)
    damaged = ctx.store.count("SELECT COUNT(*) FROM items WHERE damage <> ''")
    ctx.evidence.add(
        UnreadableFiles(
            files=looked,
            unreadable=count,
            examples=tuple(Example(name=path, detail=reason) for path, reason in rows),
            damaged=damaged,
            damaged_examples=ctx.examples("damage", "damage <> ''", lambda damage: damage),
        )
    )


def _hidden(ctx: AuditRoom) -> None:
    """Files that a search for the usual suffix of their format would miss."""
    hidden: dict[tuple[str, str], Collector] = {}
    totals: Counter[str] = Counter()
    for path, kind in ctx.store.rows("SELECT path, kind FROM files WHERE status = 'read' ORDER BY path"):
        totals[kind] += 1
        suffix = kinds.suffix_of(path)
        if kind in _EXPECTED and suffix not in _EXPECTED[kind] and path != ".":
            hidden.setdefault((kind, suffix), Collector()).add(item_name(path))
    for (kind, suffix), found in sorted(hidden.items()):
        ctx.evidence.add(
            HiddenFormat(format=kind, suffix=suffix, hidden=found.count, total=totals[kind], examples=found.examples)
        )
