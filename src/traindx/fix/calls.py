"""Single calls: results that no name takes, axes and indices of another kind, states and grids as they are meant."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from traindx.finding import Finding
from traindx.fix.activations import operand
from traindx.fix.source import (
    Edits,
    Node,
    Source,
    called,
    grouped,
    keyword,
    name_of,
    positional,
    receiver,
    with_argument,
    without,
)

NDIMAGE = ("zoom", "rotate", "shift", "affine_transform", "map_coordinates", "geometric_transform")
_NAMEABLE = m.OneOf(m.Name(), m.Attribute(), m.Subscript())


def keep_the_result(source: Source, finding: Finding, line: int) -> Edits | None:
    """Keep the result under the name of what was changed."""
    statement = source.statement(line)
    if statement is None or len(statement.body) != 1 or not m.matches(statement.body[0], m.Expr(value=m.Call())):
        return None
    call = statement.body[0].value
    target = positional(call, 0) if name_of(call) == "sorted" else operand(call)
    if target is None or not m.matches(target, _NAMEABLE) or name_of(call).endswith("_"):
        return None
    if isinstance(target, cst.Name) and not _is_local(source, call, target.value):
        return None
    root = target
    while not isinstance(root, cst.Name):
        if not isinstance(root, cst.Attribute | cst.Subscript):
            return None
        root = root.value
    if root.value != "self" and _is_imported(source, root.value):
        return None
    assigned = cst.Assign(targets=[cst.AssignTarget(target=target)], value=call)
    return {statement.body[0]: assigned}


def _is_imported(source: Source, name: str) -> bool:
    """True of modules and what comes from them."""
    named = m.Name(name)
    aliases = (m.ImportAlias(name=named, asname=None), m.ImportAlias(asname=m.AsName(name=named)))
    return any(source.find(one) for one in aliases)


def _is_local(source: Source, node: Node, name: str) -> bool:
    """True if a function gives a name a value itself, so that assigning to it hides nothing from outside."""
    scope = source.function(node)
    if scope is source.module:
        return True
    named = m.Name(name)
    bindings = (m.Param(name=named), m.AssignTarget(target=named), m.For(target=named), m.AsName(name=named))
    inside_a_tuple = m.Tuple(elements=[m.ZeroOrMore(), m.Element(value=named), m.ZeroOrMore()])
    tuples = (m.AssignTarget(target=inside_a_tuple), m.For(target=inside_a_tuple))
    return any(source.inside(scope, one) for one in (*bindings, *tuples))


def norm_of_samples(source: Source, finding: Finding, line: int) -> Edits | None:
    """Take the norm over all axes of a sample."""
    call = source.only(called("norm", "vector_norm"), line)
    inner = None if call is None else operand(call)
    if call is None or inner is None:
        return None
    method = receiver(call) is inner
    axis = keyword(call, "dim", "axis")
    given = axis.value if axis is not None else positional(call, 1 if method else 2)
    if given is None:
        return None
    flat = cst.Call(
        func=cst.Attribute(value=grouped(inner), attr=cst.Name("flatten")), args=[cst.Arg(cst.Integer("1"))]
    )
    edits: Edits = {inner: flat}
    if not m.matches(given, m.Integer("1")):
        edits[given] = cst.Integer("1")
    return edits


def mask_not_index(source: Source, finding: Finding, line: int) -> Edits | None:
    """Select by a mask instead of picking elements 0 and 1."""
    index = m.SubscriptElement(slice=m.Index(value=m.OneOf(m.Name(), m.Attribute())))
    found = source.only(m.Subscript(slice=[index]), line)
    if found is None:
        return None
    value = found.slice[0].slice.value
    return {value: cst.Call(func=cst.Attribute(value=value, attr=cst.Name("bool")))}


def other_direction(source: Source, finding: Finding, line: int) -> Edits | None:
    """Let the schedule wait for the figure in its good direction."""
    call = source.only(called("ReduceLROnPlateau"), line)
    if call is None:
        return None
    mode = keyword(call, "mode")
    value = mode.value if mode is not None else positional(call, 1)
    if value is None:
        return {call: with_argument(call, 'mode="max"')}  # the default is to wait for a fall
    if not isinstance(value, cst.SimpleString) or value.evaluated_value not in ("min", "max"):
        return None
    other = "min" if value.evaluated_value == "max" else "max"
    return {value: value.with_changes(value=f"{value.value[0]}{other}{value.value[0]}")}


def copy_the_state(source: Source, finding: Finding, line: int) -> Edits | None:
    """Keep a copy of the state."""
    call = source.only(called("state_dict"), line)
    if call is None or receiver(call) is None or call.args:
        return None
    copy = source.find(
        m.Import(names=[m.ZeroOrMore(), m.ImportAlias(name=m.Name("copy"), asname=None), m.ZeroOrMore()])
    )
    if copy:
        return {call: cst.Call(func=cst.parse_expression("copy.deepcopy"), args=[cst.Arg(call)])}
    return {call: cst.parse_expression(f"{{key: value.clone() for key, value in {source.text(call)}.items()}}")}


def grid_as_it_is_read(source: Source, finding: Finding, line: int) -> Edits | None:
    """Give the grid in the order and the unit in which it is read."""
    call = source.only(called("grid_sample"), line)
    if call is None or finding.variant not in ("order", "unit"):
        return None
    given = keyword(call, "grid")
    grid = given.value if given is not None else positional(call, 1)
    if grid is None:
        return None
    if finding.variant == "order":
        flipped = cst.Attribute(value=grouped(grid), attr=cst.Name("flip"))
        return {grid: cst.Call(func=flipped, args=[cst.Arg(cst.parse_expression("-1"))])}
    return {grid: cst.parse_expression(f"{source.module.code_for_node(grouped(grid))} * 2 - 1")}


def nearest_neighbour(source: Source, finding: Finding, line: int) -> Edits | None:
    """Resample labels by their nearest neighbour."""
    call = source.only(called("interpolate", *NDIMAGE), line)
    if call is None:
        return None
    if name_of(call) == "interpolate":
        mode, corners = keyword(call, "mode"), keyword(call, "align_corners")
        if mode is None or not isinstance(mode.value, cst.SimpleString):
            return None
        quote = mode.value.value[0]
        nearest = mode.with_changes(value=mode.value.with_changes(value=f"{quote}nearest{quote}"))
        changed = call.with_changes(args=[nearest if arg is mode else arg for arg in call.args])
        return {call: without(changed, corners) if corners is not None else changed}
    if not _of_ndimage(source, call):
        return None
    order = keyword(call, "order")
    if order is not None:
        return {order: order.with_changes(value=cst.Integer("0"))}
    return {call: with_argument(call, "order=0")}


def _of_ndimage(source: Source, call: Node) -> bool:
    """True if a function is that of scipy.ndimage, by its module's name or its import."""
    owner = receiver(call)
    if owner is not None:
        return source.text(owner).split(".")[-1] in ("ndimage", "ndi", "nd")
    module = m.Attribute(value=m.Name("scipy"), attr=m.Name("ndimage"))
    alias = m.ImportAlias(name=m.Name(name_of(call)), asname=None)
    return bool(source.find(m.ImportFrom(module=module, names=[m.ZeroOrMore(), alias, m.ZeroOrMore()])))


def in_their_order(source: Source, finding: Finding, line: int) -> Edits | None:
    """Read what is evaluated in its own order."""
    call = source.only(called("DataLoader"), line)
    shuffle = None if call is None else keyword(call, "shuffle")
    if shuffle is None or not m.matches(shuffle.value, m.Name("True")):
        return None
    return {shuffle: shuffle.with_changes(value=cst.Name("False"))}
