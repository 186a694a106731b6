"""Which values masks hold, and which of them mean anything."""

from __future__ import annotations

import json
from collections import defaultdict

from traindx.data.audit.context import AuditRoom, Collector, item_name
from traindx.evidence.dataset_labels import LabelValue, MaskValues

TINY = 8
"""Voxels up to which a mask counts as tiny: a 2 x 2 x 2 cube."""

_MANY = 4
_MAIN_SHARE = 0.8
_GREY_RANGE = 32
_KEPT = 64


def audit(ctx: AuditRoom) -> None:
    """Write :class:`MaskValues` for every set of masks."""
    options = ctx.options
    declared, by = options.label_values, "the command line"
    if not declared and ctx.declared_labels:
        declared, by = ctx.declared_labels, "dataset.json"
    for name in ctx.sets("mask"):
        _set(ctx, name, declared, by if declared else "", options.ignore_value)


def _set(ctx: AuditRoom, name: str, declared: tuple[float, ...], by: str, ignored: float | None) -> None:
    voxels: dict[float, int] = defaultdict(int)
    members: dict[float, int] = defaultdict(int)
    fractional, many, undeclared = Collector(), Collector(worst_first=True), Collector(worst_first=True)
    empty, full, tiny = Collector(), Collector(), Collector()
    known = {*declared, *([ignored] if ignored is not None else [])}
    total = count = absent = 0
    query = (
        f"SELECT path, item, key, label_values, fractional, levels, {_part(ctx)} FROM items "
        "WHERE set_name = ? ORDER BY path, item, key"
    )
    for path, item, key, text, is_fractional, distinct, part in ctx.store.rows(query, name):
        count += 1
        where = item_name(path, item, key)
        values = {float(value): int(number) for value, number in json.loads(text or "{}").items()}
        size = max(sum(values.values()), 1)
        total += size
        for value, number in values.items():
            voxels[value] += number
            members[value] += 1
        if is_fractional:
            fractional.add(where, f"{distinct} values, for example {_odd(values):g}")
        elif _between_two(values, distinct):
            many.add(where, f"{distinct} values between {min(values):g} and {max(values):g}", float(distinct))
        foreground = size - values.get(0.0, 0)
        if foreground == 0:
            absent += bool(part)
            if not part:
                empty.add(where)
        elif foreground == size:
            full.add(where, f"only {', '.join(f'{value:g}' for value in sorted(values)[:4])}")
        elif foreground <= TINY and not _landmarks(values):
            tiny.add(where, f"{foreground} of {size} voxels")
        strange = {value: number for value, number in values.items() if known and value not in known}
        if strange and not is_fractional:
            said = ", ".join(f"{value:g}" for value in sorted(strange)[:4]) + (", ..." if len(strange) > 4 else "")
            share = sum(strange.values()) / size
            undeclared.add(where, f"value {said} in {share:.1%} of the voxels", share)
    if count and absent == count:  # nothing is anywhere: then it is not that a structure is out of view
        for path, item, key in ctx.store.rows(
            "SELECT path, item, key FROM items WHERE set_name = ? ORDER BY path", name
        ):
            empty.add(item_name(path, item, key))
    integers = sorted((value for value in voxels if value == int(value)), key=lambda value: -voxels[value])[:_KEPT]
    ctx.evidence.add(
        MaskValues(
            name=name,
            masks=count,
            values=tuple(
                LabelValue(value=value, share=voxels[value] / max(total, 1), masks=members[value])
                for value in sorted(integers)
            ),
            declared=declared,
            declared_by=by,
            ignored=ignored,
            fractional=fractional.count,
            fractional_examples=fractional.examples,
            many_values=many.count,
            many_values_examples=many.examples,
            empty=empty.count,
            empty_examples=empty.examples,
            full=full.count,
            full_examples=full.examples,
            tiny=tiny.count,
            tiny_voxels=TINY,
            tiny_examples=tiny.examples,
            undeclared_examples=undeclared.examples,
        )
    )


def _part(ctx: AuditRoom) -> str:
    """True for a mask that is one of several of its image in one folder: any structure may be absent."""
    if not ctx.store.count("SELECT COUNT(*) FROM sqlite_master WHERE name = 'pairs'"):
        return "0"
    return (
        "id IN (SELECT p.mask FROM pairs p WHERE (SELECT COUNT(*) FROM pairs q JOIN items m ON m.id = q.mask "
        "WHERE q.image = p.image AND m.grp = items.grp) > 1)"
    )


def _landmarks(values: dict[float, int]) -> bool:
    """True for numbered points: one voxel a value, and not the one value that a drawn mask has."""
    marked = {value: count for value, count in values.items() if value}
    return set(marked.values()) == {1} and (len(marked) > 1 or not set(marked) & {1.0, 255.0})


def _odd(values: dict[float, int]) -> float:
    """A value that is no integer."""
    return next((value for value in values if value != int(value)), 0.0)


def _between_two(values: dict[float, int], distinct: int) -> bool:
    """True where nearly all voxels have the lowest or the highest value and the rest lies between, as edges do."""
    if distinct <= _MANY or len(values) <= _MANY:
        return False
    low, high = min(values), max(values)
    main = values[low] + values[high]
    return high - low >= _GREY_RANGE and main >= _MAIN_SHARE * sum(values.values())
