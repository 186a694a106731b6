"""A user's source file as a syntax tree that keeps every space and comment, with lines, and edits of single nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import libcst as cst
from libcst import matchers as m
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider

Node = Any
Edits = dict[Any, Any]


class Source:
    """One file.

    Args:
        data: Its bytes; encoding and line ends are kept.

    Raises:
        libcst.ParserSyntaxError: It cannot be parsed.
    """

    def __init__(self, data: bytes) -> None:
        wrapper = MetadataWrapper(cst.parse_module(data))
        self.module: Node = wrapper.module
        self._positions: Any = wrapper.resolve(PositionProvider)
        self._parents: Any = wrapper.resolve(ParentNodeProvider)

    # -- looking around ------------------------------------------------------------------------------------------

    def span(self, node: Node) -> tuple[int, int]:
        """First and last line of a node."""
        place = self._positions[node]
        return int(place.start.line), int(place.end.line)

    def covers(self, node: Node, line: int) -> bool:
        """True if a node begins on a line, or spans it."""
        first, last = self.span(node)
        return first <= line <= last

    def find(self, matcher: Any, line: int = 0) -> list[Node]:
        """All nodes that match; those on a line if one is given, and of these the ones that begin there if any do."""
        found = [node for node in m.findall(self.module, matcher) if not line or self.covers(node, line)]
        begin = [node for node in found if line and self.span(node)[0] == line]
        return begin or found

    def only(self, matcher: Any, line: int = 0) -> Node | None:
        """The one node that matches; None if there are none or several."""
        found = self.find(matcher, line)
        return found[0] if len(found) == 1 else None

    def parent(self, node: Node) -> Node:
        """The node around a node."""
        return self._parents[node]

    def around(self, node: Node) -> Iterator[Node]:
        """All nodes around a node, from the innermost outwards."""
        while node is not self.module:
            node = self.parent(node)
            yield node

    def statement(self, line: int) -> Node | None:
        """The innermost simple statement on a line."""
        found = self.find(m.SimpleStatementLine(), line)
        return min(found, key=lambda node: self.span(node)[1] - self.span(node)[0], default=None)

    def statement_of(self, node: Node) -> Node:
        """The simple statement that a node is part of."""
        return next(outer for outer in self.around(node) if isinstance(outer, cst.SimpleStatementLine))

    def function(self, node: Node) -> Node:
        """The function that a node is in, or the module."""
        return next(outer for outer in self.around(node) if outer is self.module or isinstance(outer, cst.FunctionDef))

    def block(self, statement: Node) -> Sequence[Node]:
        """The statements beside a statement, itself included."""
        body: Sequence[Node] = self.parent(statement).body
        return body

    def inside(self, outer: Node, matcher: Any) -> list[Node]:
        """Nodes that match inside another one."""
        return list(m.findall(outer, matcher))

    def text(self, node: Node) -> str:
        """A node as it is written."""
        return str(self.module.code_for_node(node)).strip()

    # -- editing -------------------------------------------------------------------------------------------------

    def edited(self, edits: Edits) -> bytes:
        """The file with nodes exchanged, removed (``None``) or joined by others (a list)."""
        return bytes(self.module.visit(_Exchange(edits)).bytes)

    def beside(self, statement: Node, before: Sequence[str] = (), after: Sequence[str] = ()) -> Edits:
        """An edit that puts lines before and after a statement, in its block and with its indentation."""
        leading = statement.leading_lines
        above = [self.line(text) for text in before]
        if above:  # comments and blank lines above the statement stay above what is new
            above[0] = above[0].with_changes(leading_lines=leading)
            statement_after = statement.with_changes(leading_lines=())
        else:
            statement_after = statement
        return {statement: [*above, statement_after, *(self.line(text) for text in after)]}

    def line(self, text: str) -> Node:
        """One line as a statement, written as the rest of the file is."""
        return cst.parse_statement(text, config=self.module.config_for_parsing)


class _Exchange(cst.CSTTransformer):  # type: ignore[misc, unused-ignore]
    """Exchanges nodes by identity."""

    def __init__(self, edits: Edits) -> None:
        super().__init__()
        self.edits = edits

    def on_leave(self, original_node: Node, updated_node: Node) -> Node:
        """The replacement of a node, if it has one."""
        if original_node not in self.edits:
            return updated_node
        new = self.edits[original_node]
        if new is None:
            return cst.RemoveFromParent()
        return cst.FlattenSentinel(new) if isinstance(new, list) else new


def knows_torch(source: Source) -> bool:
    """True if a file imports torch under its own name."""
    torch = m.ImportAlias(name=m.Name("torch"), asname=None)
    return bool(source.find(m.Import(names=[m.ZeroOrMore(), torch, m.ZeroOrMore()])))


def called(*names: str) -> Any:
    """A call of one of these names: ``name(...)`` or ``anything.name(...)``."""
    one = m.OneOf(*(m.Name(name) for name in names)) if len(names) > 1 else m.Name(names[0])
    return m.Call(func=m.OneOf(one, m.Attribute(attr=one)))


def name_of(call: Node) -> str:
    """The last part of what is called."""
    function = call.func
    last = function.attr if isinstance(function, cst.Attribute) else function
    return str(last.value) if isinstance(last, cst.Name) else ""


def receiver(call: Node) -> Node | None:
    """``x`` of ``x.name(...)``."""
    return call.func.value if isinstance(call.func, cst.Attribute) else None


def keyword(call: Node, *names: str) -> Node | None:
    """The argument of one of these names."""
    return next((arg for arg in call.args if arg.keyword is not None and arg.keyword.value in names), None)


def positional(call: Node, index: int) -> Node | None:
    """A positional argument's value."""
    given = [arg for arg in call.args if arg.keyword is None and not arg.star]
    return given[index].value if index < len(given) else None


def number(node: Node) -> float | None:
    """The value of a literal number, with its sign."""
    if isinstance(node, cst.Integer | cst.Float):
        return float(node.evaluated_value)
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Minus):
        inner = number(node.expression)
        return None if inner is None else -inner
    return None


def grouped(node: Node) -> Node:
    """An expression that may stand before ``.name`` or beside any operator."""
    atoms = (cst.Name, cst.Attribute, cst.Call, cst.Subscript, cst.List, cst.Dict, cst.SimpleString)
    if isinstance(node, atoms) or node.lpar:
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def in_place_of(old: Node, new: Node) -> Node:
    """An expression to stand where another one stood: with parentheses where the other one was closed in itself."""
    if isinstance(new, cst.Name | cst.Attribute | cst.Call | cst.Subscript) or new.lpar:
        return new
    return new if isinstance(old, cst.Arg) else grouped(new)


def without(call: Node, dropped: Node) -> Node:
    """A call without one of its arguments, the comma before it gone too."""
    kept = [arg for arg in call.args if arg is not dropped]
    if kept and call.args[-1] is dropped:
        kept[-1] = kept[-1].with_changes(comma=dropped.comma)
    return call.with_changes(args=kept)


def with_argument(call: Node, text: str) -> Node:
    """A call with one more keyword argument at its end."""
    name, _, value = text.partition("=")
    new = cst.Arg(
        keyword=cst.Name(name),
        value=cst.parse_expression(value),
        equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
    )
    args = list(call.args)
    if not args:
        return call.with_changes(args=[new])
    trailing = args[-1].comma
    args[-1] = args[-1].with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
    return call.with_changes(args=[*args, new.with_changes(comma=trailing)])
