"""Label columns, and whether images, table rows and boxes know each other."""

from __future__ import annotations

from traindx.data.audit.context import AuditRoom
from traindx.data.join import matching_column
from traindx.data.tables import Column, Table
from traindx.evidence.dataset import Example, LabelColumn, PairCensus, Share

_SHOWN = 20


def audit(room: AuditRoom) -> None:
    """Write :class:`LabelColumn` for every label and :class:`PairCensus` for every table."""
    for table in room.tables:
        for header in table.labels:
            _column(room, table, table.columns[header])
    for table in room.tables:
        _rows(room, table)


def _column(room: AuditRoom, table: Table, column: Column) -> None:
    shares = tuple(Share(value=value, count=count) for value, count in column.values.most_common(_SHOWN))
    declared = table.declared == "labels"
    if column.type == "category" and len(column.values) > 1:
        query = (
            "SELECT name, COUNT(DISTINCT id) AS n FROM labels WHERE source = ? AND name LIKE ? || '=%' "
            "GROUP BY name ORDER BY n, name"
        )
        for name, count in list(room.store.rows(query, table.name, column.name)):
            room.evidence.add(
                LabelColumn(
                    table=table.name,
                    column=name,
                    type="category",
                    rows=column.rows,
                    empty=column.empty,
                    values=shares,
                    distinct=len(column.values),
                    positives=count,
                    by_split=_by_split(room, table, name, of_class=True),
                    declared=declared,
                )
            )
        return
    positives = sum(count for value, count in column.values.items() if value.lower() in ("1", "1.0", "true"))
    room.evidence.add(
        LabelColumn(
            table=table.name,
            column=column.name,
            type=column.type,
            rows=column.rows,
            empty=column.empty,
            values=shares,
            distinct=len(column.values),
            positives=positives,
            by_split=_by_split(room, table, column.name) if column.type == "binary" else {},
            declared=declared,
        )
    )


def _by_split(room: AuditRoom, table: Table, name: str, *, of_class: bool = False) -> dict[str, tuple[int, int]]:
    """``split -> (positives, rows)``."""
    if of_class:
        query = (
            "SELECT s.split, SUM(EXISTS(SELECT 1 FROM labels l WHERE l.source = ? AND l.id = s.id AND l.name = ?)), "
            "COUNT(*) FROM (SELECT DISTINCT id, split FROM splits) s "
            "WHERE s.id IN (SELECT id FROM labels WHERE source = ?) GROUP BY s.split ORDER BY s.split"
        )
        rows = room.store.rows(query, table.name, name, table.name)
    else:
        query = (
            "SELECT s.split, SUM(l.value > 0), COUNT(*) FROM labels l "
            "JOIN (SELECT DISTINCT id, split FROM splits) s ON s.id = l.id "
            "WHERE l.source = ? AND l.name = ? GROUP BY s.split ORDER BY s.split"
        )
        rows = room.store.rows(query, table.name, name)
    return {split: (int(positives or 0), int(count)) for split, positives, count in rows}


def _rows(room: AuditRoom, table: Table) -> None:
    """Rows without an image, and images without a row."""
    kind = "boxes" if table.box is not None else "labels" if table.labels else "splits" if table.split else ""
    if not kind or not room.store.count("SELECT COUNT(*) FROM items WHERE role = 'image'"):
        return
    key = matching_column(room.store, kind, table.name)
    if not key:
        if table.declared:
            total = room.store.count(f"SELECT COUNT(DISTINCT id) FROM {kind} WHERE source = ?", table.name)
            query = f"SELECT DISTINCT id FROM {kind} WHERE source = ? ORDER BY id LIMIT 6"
            found = tuple(Example(name=f"{table.name}: {name}") for (name,) in room.store.rows(query, table.name))
            room.evidence.add(
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
            room.skip(f"table {table.name}", "none of its rows names an image in the folder")
        return
    missing = f"SELECT DISTINCT id FROM {kind} WHERE source = ? AND id NOT IN (SELECT {key} FROM items)"
    room.evidence.add(
        PairCensus(
            left=f"row of {table.name}",
            right="image",
            total=room.store.count(f"SELECT COUNT(DISTINCT id) FROM {kind} WHERE source = ?", table.name),
            missing=room.store.count(f"SELECT COUNT(*) FROM ({missing})", table.name),
            declared=bool(table.declared),
            examples=tuple(
                Example(name=f"{table.name}: {name}")
                for (name,) in room.store.rows(f"{missing} ORDER BY id LIMIT 12", table.name)
            ),
        )
    )
    if kind == "boxes":
        return  # an image without a box is a negative
    noun = "label" if kind == "labels" else "row"  # a row whose cells are empty holds no label
    # A table that was not given by name speaks for the images of its own folder only.
    folder = "" if table.declared else table.name.rpartition("/")[0]
    here = "role = 'image'" + (" AND path LIKE ? || '/%'" if folder else "")
    inside = (folder,) if folder else ()
    alone = f"{here} AND {key} NOT IN (SELECT id FROM {kind} WHERE source = ?)"
    room.evidence.add(
        PairCensus(
            left="image",
            right=f"{noun} in {table.name}",
            total=room.store.count(f"SELECT COUNT(*) FROM items WHERE {here}", *inside),
            missing=room.store.count(f"SELECT COUNT(*) FROM items WHERE {alone}", *inside, table.name),
            declared=bool(table.declared) and (room.options.task.labels or kind == "splits"),
            examples=room.examples("shape", alone, lambda shape: shape, *inside, table.name),
        )
    )
