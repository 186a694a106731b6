"""Label columns, and whether images, table rows and boxes know each other."""

from __future__ import annotations

from collections.abc import Sequence

from traindx.data import headers
from traindx.data.audit.context import EXAMPLES, AuditRoom
from traindx.data.join import matching_column
from traindx.data.tables import Column, Table
from traindx.evidence import Action, NotExamined
from traindx.evidence.dataset import Example, PairCensus, Share
from traindx.evidence.dataset_labels import LabelColumn

_SHOWN = 20


MOSTLY = 0.5
"""Share of a group of images that a table must name before the rest of it is missed, and of its rows likewise."""


def audit(ctx: AuditRoom) -> None:
    """Write :class:`LabelColumn` for every label and :class:`PairCensus` for every table."""
    varied = _varied(ctx.tables)
    for table in ctx.tables:
        if table.long:
            _long(ctx, table)
            continue
        for header in table.labels:
            if (table.declared or len(table.columns[header].values) != 1) or (_family(table), header) not in varied:
                _column(ctx, table, table.columns[header])
    said: list[str] = []
    for table in ctx.tables:
        said += _rows(ctx, table)
        if not _kind(table):
            _unused(ctx, table)
    ctx.notes["table lines"] = said


def _family(table: Table) -> tuple[str, ...]:
    return tuple(table.columns)


def _varied(tables: tuple[Table, ...]) -> set[tuple[tuple[str, ...], str]]:
    """Labels that vary in one of several tables with the same columns: one table a split is one table."""
    return {
        (_family(table), header) for table in tables for header in table.labels if len(table.columns[header].values) > 1
    }


def _long(ctx: AuditRoom, table: Table) -> None:
    """Labels of a table with a row an image and class."""
    figures = "name, COUNT(*), SUM(value > 0), COUNT(DISTINCT value)"
    query = f"SELECT {figures} FROM labels WHERE source = ? GROUP BY name ORDER BY name"
    for name, count, positives, distinct in list(ctx.store.rows(query, table.name)):
        shares = (Share(value="1", count=int(positives)), Share(value="0", count=int(count - positives)))
        ctx.evidence.add(
            LabelColumn(
                table=table.name,
                column=str(name),
                type="binary",
                rows=int(count),
                values=tuple(share for share in shares if share.count),
                distinct=int(distinct),
                positives=int(positives),
                by_split=_by_split(ctx, table, str(name)),
                declared=table.declared == "labels",
            )
        )


def _column(ctx: AuditRoom, table: Table, column: Column) -> None:
    shares = tuple(Share(value=value, count=count) for value, count in column.values.most_common(_SHOWN))
    declared = table.declared == "labels"
    if column.type == "category" and len(column.values) > 1:
        query = (
            "SELECT name, COUNT(DISTINCT id) AS n FROM labels WHERE source = ? AND name LIKE ? || '=%' "
            "GROUP BY name ORDER BY n, name"
        )
        for name, count in list(ctx.store.rows(query, table.name, column.name)):
            ctx.evidence.add(
                LabelColumn(
                    table=table.name,
                    column=name,
                    type="category",
                    rows=column.rows,
                    empty=column.empty,
                    values=shares,
                    distinct=len(column.values),
                    positives=count,
                    by_split=_by_split(ctx, table, name, of_class=True),
                    declared=declared,
                )
            )
        return
    positives = sum(count for value, count in column.values.items() if value.lower() in ("1", "1.0", "true"))
    rows, empty, distinct = column.rows, column.empty, len(column.values)
    said = {value.lower() for value in column.values}
    if column.type == "binary" and empty and positives and not said & {"0", "0.0", "false"}:
        # No cell says 0: a blank is what says "no", as in reports read for what they mention.
        shares = (*shares, Share(value="(blank)", count=empty))
        rows, empty, distinct = rows + empty, 0, distinct + 1
    ctx.evidence.add(
        LabelColumn(
            table=table.name,
            column=column.name,
            type=column.type,
            rows=rows,
            empty=empty,
            values=shares,
            distinct=distinct,
            positives=positives,
            by_split=_by_split(ctx, table, column.name) if column.type == "binary" else {},
            declared=declared,
        )
    )


def _by_split(ctx: AuditRoom, table: Table, name: str, *, of_class: bool = False) -> dict[str, tuple[int, int]]:
    """``split -> (positives, rows)``."""
    if of_class:
        query = (
            "SELECT s.split, SUM(EXISTS(SELECT 1 FROM labels l WHERE l.source = ? AND l.id = s.id AND l.name = ?)), "
            "COUNT(*) FROM (SELECT DISTINCT id, split FROM splits) s "
            "WHERE s.id IN (SELECT id FROM labels WHERE source = ?) GROUP BY s.split ORDER BY s.split"
        )
        rows = ctx.store.rows(query, table.name, name, table.name)
    else:
        query = (
            "SELECT s.split, SUM(l.value > 0), COUNT(*) FROM labels l "
            "JOIN (SELECT DISTINCT id, split FROM splits) s ON s.id = l.id "
            "WHERE l.source = ? AND l.name = ? GROUP BY s.split ORDER BY s.split"
        )
        rows = ctx.store.rows(query, table.name, name)
    return {split: (int(positives or 0), int(count)) for split, positives, count in rows}


def _rows(ctx: AuditRoom, table: Table) -> list[str]:
    """Rows without an image, images without a row; what was understood of the table, in a sentence."""
    if table.form:
        return [f"{table.name} is a form for predictions: not used"]
    kind = _kind(table)
    if not kind or not ctx.store.count("SELECT COUNT(*) FROM items WHERE role = 'image'"):
        return []
    key = matching_column(ctx.store, kind, table.name)
    total = ctx.store.count(f"SELECT COUNT(DISTINCT id) FROM {kind} WHERE source = ?", table.name)
    if not total:
        return []
    if not key:
        if table.declared:
            query = f"SELECT DISTINCT id FROM {kind} WHERE source = ? ORDER BY id LIMIT {EXAMPLES}"
            found = tuple(Example(name=f"{table.name}: {name}") for (name,) in ctx.store.rows(query, table.name))
            ctx.evidence.add(
                PairCensus(
                    left=f"row of {table.name}",
                    right="image",
                    total=total,
                    missing=total,
                    declared=True,
                    examples=found,
                )
            )
        else:
            ctx.skip(f"table {table.name}", "none of its rows names an image in the folder")
        return []
    lost = f"SELECT DISTINCT id FROM {kind} WHERE source = ? AND id NOT IN (SELECT {key} FROM items)"
    missing = ctx.store.count(f"SELECT COUNT(*) FROM ({lost})", table.name)
    by = _JOINED.get(key, key)
    places = f"landmarks ({_some([name for name, _, _ in table.points])})"
    what = {"boxes": "boxes", "points": places, "labels": f"labels ({_some(table.labels)})", "splits": "splits"}[kind]
    line = [f"{table.name}: {what}, joined by {by} “{table.id}” ({total - missing} of {total})"]
    if missing > MOSTLY * total and not table.declared:
        ctx.skip(
            f"rows of {table.name}",
            f"{missing} of {total} name no image here: the folder is taken for a part of the set",
        )
        return line
    ctx.evidence.add(
        PairCensus(
            left=f"row of {table.name}",
            right="image",
            total=total,
            missing=missing,
            declared=bool(table.declared),
            examples=tuple(
                Example(name=f"{table.name}: {name}")
                for (name,) in ctx.store.rows(f"{lost} ORDER BY id LIMIT {EXAMPLES}", table.name)
            ),
        )
    )
    if kind not in ("boxes", "points"):  # an image without a box is a negative
        _unnamed(ctx, table, kind, key)
    return line


def _kind(table: Table) -> str:
    """What a table is used for; nothing for one that is not used."""
    if table.box is not None:
        return "boxes"
    return "points" if table.points else "labels" if table.labels else "splits" if table.split else ""


def _unused(ctx: AuditRoom, table: Table) -> None:
    """Name a table that speaks of the images and says nothing that is known: nobody should think it was checked."""
    key = ctx.store.joined.get(table.name)
    if key in _OF_SEVERAL or sum(map(headers.of_dicom, table.columns)) >= _ACQUIRED:
        return
    known = {table.id, table.patient, table.reader, table.runs}
    rest = [
        header
        for header, column in table.columns.items()
        if header not in known and column.rows and not headers.never_learned(header)
    ]
    if not key or not rest:
        return
    by = _JOINED.get(key, key)
    reason = f"names images by {by} “{table.id}”; no label, box or split is known in its columns ({_some(rest)})"
    ctx.evidence.add(NotExamined(subject=f"table {table.name}", reason=reason, action=Action.GIVE))


_OF_SEVERAL = ("patient", "study", "visit", "folder")
"""Tables joined by these are about people and visits; ages and scanners need no checking."""

_ACQUIRED = 3
"""Columns named like attributes of DICOM from which on a table is one of acquisition parameters."""

_JOINED = {
    "name": "file name", "stem": "path", "tail": "folder and name", "sop": "SOPInstanceUID", "case_key": "case",
    "series": "SeriesInstanceUID", "study": "StudyInstanceUID", "visit": "number of the folder",
}  # fmt: skip


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _unnamed(ctx: AuditRoom, table: Table, kind: str, key: str) -> None:
    """Images that no row names, in groups of folders of which the table names most."""
    noun = "label" if kind == "labels" else "row"  # a row whose cells are empty holds no label
    # A table that was not given by name speaks for the images of its own folder only.
    folder = "" if table.declared else table.name.rpartition("/")[0]
    here = "role = 'image'" + (" AND path LIKE ? || '/%'" if folder else "")
    inside = (folder,) if folder else ()
    named = f"{key} IN (SELECT id FROM {kind} WHERE source = ?)"
    groups = ctx.store.rows(
        f"SELECT grp, SUM({named}), COUNT(*) FROM items WHERE {here} GROUP BY grp", table.name, *inside
    )
    # Folders that the table speaks of. A table given by name speaks of all, where its rows find any.
    labelled = [str(group) for group, known, count in groups if table.declared or (known or 0) >= MOSTLY * count]
    if not labelled:
        return
    here += f" AND grp IN ({', '.join(chr(39) + group.replace(chr(39), chr(39) * 2) + chr(39) for group in labelled)})"
    alone = f"{here} AND NOT {named}"
    ctx.evidence.add(
        PairCensus(
            left="image",
            right=f"{noun} in {table.name}",
            total=ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {here}", *inside),
            missing=ctx.store.count(f"SELECT COUNT(*) FROM items WHERE {alone}", *inside, table.name),
            declared=bool(table.declared) and (ctx.options.task.labels or kind == "splits"),
            examples=ctx.examples("shape", alone, lambda shape: shape, *inside, table.name),
        )
    )
