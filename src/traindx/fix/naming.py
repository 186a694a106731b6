"""Names that stand in each other's place, and names that a copied line still has from the line it was copied from."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from traindx.finding import Finding
from traindx.fix.source import Edits, Node, Source


def exchange_two(source: Source, finding: Finding, line: int) -> Edits | None:
    """Exchange the two names."""
    first, second = (_named(source, str(finding.numbers.get(key, "")), line) for key in ("was", "better"))
    if finding.variant not in ("arguments", "results") or first is None or second is None:
        return None
    return {first: second, second: first}


def adapt_the_copy(source: Source, finding: Finding, line: int) -> Edits | None:
    """Write the name that the line is about."""
    better = str(finding.numbers.get("better", ""))
    node = _named(source, str(finding.numbers.get("was", "")), line)
    if finding.variant not in ("copy", "stand-in", "left-over", "other") or node is None or not better.isidentifier():
        return None
    if isinstance(node, cst.SimpleString):
        quote = node.value[0]
        return {node: node.with_changes(value=f"{quote}{better}{quote}")}
    return {node: node.with_changes(value=better)}


def _named(source: Source, name: str, line: int) -> Node | None:
    """The one place on a line at which a name stands, as a name, an attribute or a plain text."""
    if not name.isidentifier():
        return None
    texts = m.MatchIfTrue(lambda text: text in (f'"{name}"', f"'{name}'"))
    found = source.find(m.OneOf(m.Name(name), m.SimpleString(value=texts)), line)
    found = [one for one in found if source.span(one)[0] == line and not _keyword(source, one)]
    return found[0] if len(found) == 1 else None


def _keyword(source: Source, node: Node) -> bool:
    """True for the name before ``=`` in a call, which is not a use of anything."""
    parent = source.parent(node)
    return isinstance(parent, cst.Arg) and parent.keyword is node
