"""Label columns, and whether images, table rows and boxes know each other."""

from __future__ import annotations

from traindx.data.audit.context import AuditRoom
from traindx.data.join import matching_column
from traindx.data.tables import Column, Table
from traindx.evidence.dataset import Example, LabelColumn, PairCensus, Share

_SHOWN = 20


def audit(ctx: AuditRoom) -> None:
    """Write :class:`LabelColumn` for every label and :class:`PairCensus` for every table."""
    for table in ctx.tables:
        for header in table.labels:
            _column(ctx, table, table.columns[header])
    for table in ctx.tables:
        _rows(ctx, table)


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
    ctx.evidence.add(
        LabelColumn(
            table=table.name,
            column=column.name,
            type=column.type,
            rows=column.rows,
            empty=column.empty,
            values=shares,
            distinct=len(column.values),
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


def _rows(ctx: AuditRoom, table: Table) -> None:
    """Rows without an image, and images without a row."""
    kind = "boxes" if table.box is not None else "labels" if table.labels else "splits" if table.split else ""
    if not kind or not ctx.store.count("SELECT COUNT(*) FROM items WHERE role = 'image'"):
        return
    key = matching_column(ctx.store, kind, table.name)
    if not key:
        if table.declared:
            total = ctx.store.count(f"SELECT COUNT(DISTINCT id) FROM {kind} WHERE source = ?", table.name)
            query = f"SELECT DISTINCT id FROM {kind} WHERE source = ? ORDER BY id LIMIT 6"
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
        return
    missing = f"SELECT DISTINCT id FROM {kind} WHERE source = ? AND id NOT IN (SELECT {key} FROM items)"
    ctx.evidence.add(
        PairCensus(
            left=f"row of {table.name}",
            right="image",
            total=ctx.store.count(f"SELECT COUNT(DISTINCT id) FROM {kind} WHERE source = ?", table.name),
            missing=ctx.store.count(f"SELECT COUNT(*) FROM ({missing})", table.name),
            declared=bool(table.declared),
            examples=tuple(
                Example(name=f"{table.name}: {name}")
                for (name,) in ctx.store.rows(f"{missing} ORDER BY id LIMIT 12", table.name)
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
