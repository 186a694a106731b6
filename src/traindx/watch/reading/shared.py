"""One object where several were meant, and a name that holds something else by the time that it is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from traindx.watch.reading.program import Function, Program, Slip, is_empty, name_of, names_in, shown
from traindx.watch.runtime.syntax import inside, walk

KEEPS = (
    "append",
    "add",
    "insert",
    "register_forward_hook",
    "register_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "setdefault",
    "add_callback",
)
CHANGES = frozenset({"append", "extend", "insert", "update", "add", "pop", "remove", "clear", "setdefault"})


def closures_see_last(program: Program) -> Iterator[Slip]:
    """``hooks.append(lambda ...: store(name))`` in a loop over ``name``: all of them see its last value."""
    for file, symbol, scope in program.scopes():
        for loop in inside(scope):
            if isinstance(loop, ast.For):
                names = names_in(loop.target)
                names |= {
                    one.id for one in inside(loop) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
                }
                local = {one.name: one for one in loop.body if isinstance(one, Function)}
                for node in inside(loop):
                    for made in _kept(node, local):
                        late = sorted(_free(made) & names)
                        if late:
                            yield Slip("closure", shown(node), late[0], file, node.lineno, symbol, loop.lineno)  # type: ignore[attr-defined]
            elif isinstance(loop, ast.ListComp | ast.DictComp):
                made = loop.value if isinstance(loop, ast.DictComp) else loop.elt
                names = {one.id for part in loop.generators for one in walk(part.target) if isinstance(one, ast.Name)}
                if isinstance(made, ast.Lambda) and _free(made) & names:
                    yield Slip(
                        "closure", shown(loop), sorted(_free(made) & names)[0], file, loop.lineno, symbol, loop.lineno
                    )


def _kept(node: ast.AST, local: dict[str, ast.FunctionDef | ast.AsyncFunctionDef]) -> Iterator[ast.AST]:
    """Functions that a statement of a loop puts away for later."""
    given: list[ast.expr] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in KEEPS:
        given = list(node.args)
    elif isinstance(node, ast.Assign) and any(isinstance(one, ast.Subscript) for one in node.targets):
        given = [node.value]
    for one in given:
        if isinstance(one, ast.Lambda):
            yield one
        elif isinstance(one, ast.Name) and one.id in local:
            yield local[one.id]


def _free(made: ast.AST) -> set[str]:
    """Names that a function reads when it is called, without its own parameters and names."""
    if not isinstance(made, ast.Lambda | Function):
        return set()
    own = {one.arg for one in (*made.args.posonlyargs, *made.args.args, *made.args.kwonlyargs)}
    own |= {one.arg for one in (made.args.vararg, made.args.kwarg) if one is not None}
    body = made.body if isinstance(made.body, list) else [made.body]
    every = [one for part in body for one in walk(part)]
    own |= {one.id for one in every if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    own |= {one.arg for one in every if isinstance(one, ast.arg)}
    return {one.id for one in every if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)} - own


def outer_name_replaced(program: Program) -> Iterator[Slip]:
    """``for i in a: for i in b: ...; use(i)``: after the inner loop the outer name is the inner one's last."""
    for file, symbol, scope in program.scopes():
        for outer in inside(scope):
            if not isinstance(outer, ast.For):
                continue
            names = names_in(outer.target) - {"_"}
            for number, statement in enumerate(outer.body):
                for inner in (statement, *inside(statement)):
                    if not isinstance(inner, ast.For):
                        continue
                    both = names & names_in(inner.target)
                    for name in sorted(both):
                        line = _first_use(outer.body[number + 1 :], name)
                        if line:
                            yield Slip(
                                "loop-name",
                                f"for {shown(inner.target)} in {shown(inner.iter)}",
                                name,
                                file,
                                inner.lineno,
                                symbol,
                                line,
                            )


def _first_use(statements: list[ast.stmt], name: str) -> int:
    """Line of the first statement that reads a name, 0 where one gives it a value first, or none reads it."""
    for statement in statements:
        uses = [one for one in walk(statement) if isinstance(one, ast.Name) and one.id == name]
        if uses:
            reads = any(isinstance(one.ctx, ast.Load) for one in uses)
            return statement.lineno if reads and not any(isinstance(one.ctx, ast.Store) for one in uses) else 0
    return 0


def one_many_times(program: Program) -> Iterator[Slip]:
    """``[Block(64)] * 4``: four names for one and the same layer; ``[[]] * 4`` is one list."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
                continue
            for side, count in ((node.left, node.right), (node.right, node.left)):
                if not isinstance(side, ast.List) or len(side.elts) != 1 or _is_one(count):
                    continue
                made = side.elts[0]
                layer = isinstance(made, ast.Call) and _is_layer(program, made)
                holder = is_empty(made)
                if layer or holder:
                    yield Slip("one-object", shown(node), shown(made), file, node.lineno, symbol)


def _is_one(count: ast.expr) -> bool:
    return isinstance(count, ast.Constant) and count.value in (0, 1)


def _is_layer(program: Program, call: ast.Call) -> bool:
    """``nn.X(...)``, or a class of the script's that is a module."""
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "nn":
        return call.func.attr[:1].isupper() and call.func.attr not in STATELESS
    made = program.classes.get(name_of(call.func), [])
    return any(name_of(base) == "Module" for one in made for base in one.bases)


STATELESS = frozenset(
    {
        "ReLU",
        "GELU",
        "SiLU",
        "Tanh",
        "Sigmoid",
        "Identity",
        "Dropout",
        "Softmax",
        "LeakyReLU",
        "ELU",
        "MaxPool2d",
        "MaxPool3d",
        "Upsample",
        "Flatten",
        "AvgPool2d",
        "Dropout2d",
        "Dropout3d",
        "ReLU6",
        "Hardtanh",
    }
)


def defaults_that_grow(program: Program) -> Iterator[Slip]:
    """``def collect(x, found=[])``, and ``found`` is changed in it: all calls share one list."""
    for file, symbol, scope in program.scopes():
        if not isinstance(scope, Function):
            continue
        plain = [*scope.args.posonlyargs, *scope.args.args]
        pairs = list(zip(plain[len(plain) - len(scope.args.defaults) :], scope.args.defaults, strict=True))
        pairs += [
            (one, value)
            for one, value in zip(scope.args.kwonlyargs, scope.args.kw_defaults, strict=True)
            if value is not None
        ]
        for argument, value in pairs:
            if is_empty(value) and _grows(scope, argument.arg):
                yield Slip("default", f"{argument.arg}={shown(value)}", scope.name, file, argument.lineno, symbol)


def _grows(scope: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    held = {name}
    for node in inside(scope):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id == name:
            held |= {ast.unparse(one) for one in node.targets}
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in node.targets):
            return False
    for node in walk(scope):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            if ast.unparse(node.func.value) in held:
                return True
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) in held:
            return True
    return False


READERS = (closures_see_last, outer_name_replaced, one_many_times, defaults_that_grow)
