"""Which records are incomplete when a collector failed, so that nobody takes their silence for health."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence

from traindx.evidence.base import NotExamined, Record

ALL = "*"


def incomplete_kinds(failed: object | None, collectors: Sequence[object]) -> tuple[str, ...]:
    """Kinds of records that a failed collector writes, and those of all collectors that use it.

    A collector's kinds are the records that its module knows. It uses another one that it holds, as collectors are
    given each other when they are made. ``*`` for our own code outside a collector, which everything may depend on.
    """
    if failed is None:
        return (ALL,)
    affected, todo = [failed], [failed]
    while todo:
        source = todo.pop()
        for other in collectors:
            if not any(other is known for known in affected) and _uses(other, source):
                affected.append(other)
                todo.append(other)
    return tuple(sorted({name for one in affected for name in _kinds(one)})) or (ALL,)


def _uses(collector: object, source: object) -> bool:
    return any(value is source for value in vars(collector).values())


def _kinds(collector: object) -> set[str]:
    known = vars(sys.modules[type(collector).__module__]).values()
    return {
        item.__name__
        for item in known
        if inspect.isclass(item) and issubclass(item, Record) and item not in (Record, NotExamined)
    }
