"""How the rules on slips of the pen turn what was read into what is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from traindx.evidence.observed_sources import SourceSlip
from traindx.finding import Standing
from traindx.rules.base import Found


def told(
    slips: Iterable[SourceSlip], says: Mapping[str, tuple[str, str]], certain: tuple[str, ...] = ()
) -> Iterator[Found]:
    """A finding for each slip that a rule speaks of.

    Args:
        slips: What was read.
        says: Message and remedy by form; forms that are not in it are another rule's.
        certain: Forms that the definition of the language decides.
    """
    for one in slips:
        if one.form not in says:
            continue
        message, remedy = says[one.form]
        words = {name: getattr(one, name) for name in ("source", "detail", "was", "better")}
        words["at"] = f" (line {one.other.line})" if one.other is not None else ""
        yield Found(
            variant=one.form,
            message=message.format(**words),
            standing=Standing.DEMONSTRATED if one.form in certain else Standing.SUSPECTED,
            location=one.where,
            numbers={"was": one.was, "better": one.better} if one.was else {},
            remedy=remedy.format(**words),
        )
