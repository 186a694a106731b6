"""Statements without effect: methods named and not called, flags that nobody reads; and which figures select.

All is told from the loaded sources when a summary is written, but for flags: those are looked for on the modules.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_calls import IdleStatement, KeptFigure
from traindx.finding import Location
from traindx.watch.collectors.config_use import name_of
from traindx.watch.collectors.networks import Networks, place_of
from traindx.watch.collectors.unread_outputs import unread_outputs
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.source_text import statement_at
from traindx.watch.runtime.source_trees import freezing_lines, own_sources
from traindx.watch.runtime.structure import named_modules
from traindx.watch.runtime.syntax import children, walk
from traindx.watch.runtime.watch import Collector, Watch

METHODS = (  # are called for what they do; as a value they are passed on or compared, and never a statement
    "eval", "train", "zero_grad", "step", "backward", "cuda", "cpu", "detach_", "requires_grad_", "freeze", "unfreeze",
    "update", "reset", "half", "double", "synchronize", "clear", "flush", "close", "reset_parameters", "shuffle",
    "apply_shadow", "restore", "set_epoch", "share_memory", "save", "load",
)  # fmt: skip
MISSPELT = ("require_grad", "requires_grads", "require_grads", "required_grad", "requiresgrad", "requires_gradient")
KEEPS = ("state_dict", "save", "deepcopy", "save_checkpoint", "save_model", "save_pretrained", "copy", "clone")
LOWER = re.compile(r"loss|losses|err|error|mse|mae|rmse|nll|nmse|perplexity|ppl|fid|hd|hd95|wer|cer|distance|epe|tre")
HIGHER = re.compile(
    r"acc|accuracy|dice|dsc|auc|auroc|auprc|iou|miou|jaccard|f1|psnr|ssim|kappa|recall|precision|sensitivity|bleu|"
    r"specificity|r2|cindex|map|balanced"
)
PARTS = ("children", "modules", "named_children", "named_modules")
OF_MODULES = ("parameters", "named_parameters", "load_state_dict", "named_buffers", "buffers", "register_forward_hook")
_PLACES = (ast.Attribute, ast.Subscript, ast.Name)
WATCHERS = ("ModelCheckpoint", "EarlyStopping")


class Statements(Collector):
    """Reads the sources and the modules' own fields when a summary is written; costs nothing in between."""

    subject = "statements without effect"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self._known: tuple[frozenset[str], list[Record]] | None = None
        self._flags: dict[Location | None, IdleStatement] = {}

    def end(self) -> None:
        """Look at the modules while they are there."""
        if self.watch.level is ObservationLevel.FULL:  # a later stage has networks of its own
            self._look_for_flags()

    def records(self) -> Iterable[Record]:
        """What the sources and the modules say."""
        trees = own_sources()
        if self._known is None or self._known[0] != frozenset(trees):
            found: list[Record] = []
            for file, tree in trees.items():
                found += idle_statements(file, tree)
                found += kept_figures(file, tree)
                found += unread_outputs(file, tree)
            self._known = (frozenset(trees), found)
        yield from self._flags.values()
        for one in self._known[1]:  # of a module that was seen more is known
            if not (isinstance(one, IdleStatement) and one.form == "module-flag" and one.where in self._lines()):
                yield one

    def _lines(self) -> set[Location | None]:
        return {where.model_copy(update={"symbol": ""}) if where is not None else None for where in self._flags}

    def _look_for_flags(self) -> None:
        """``module.requires_grad = False`` sets a field of the module that nothing reads."""
        sites: list[CallSite] | None = None
        for root in list(self.networks.roots):
            for name, module in named_modules(root):
                fields: dict[str, Any] = object.__getattribute__(module, "__dict__")
                if fields.get("requires_grad") is not False:
                    continue
                trains = any(one.requires_grad for one in fields.get("_parameters", {}).values() if one is not None)
                trains = trains or any(
                    one is not None and one.requires_grad
                    for _, part in named_modules(module)
                    for one in part._parameters.values()
                )
                if not trains:
                    continue
                sites = freezing_lines() if sites is None else sites
                chosen = [site for site in sites if _sets_on(site, name)] or sites
                where = chosen[0].location() if len(chosen) == 1 else place_of(self.networks.made.get(module))
                source = f"{type(module).__name__}.requires_grad = False"
                self._flags[where] = IdleStatement(form="module-flag", source=source, where=where)


def _sets_on(site: CallSite, name: str) -> bool:
    """True if a statement sets something on an attribute that is called as a module is in the one that holds it."""
    statement = statement_at(site.file, site.line)
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(
        isinstance(one, ast.Attribute)
        and isinstance(one.value, ast.Attribute | ast.Name)
        and (one.value.attr if isinstance(one.value, ast.Attribute) else one.value.id) == name.rpartition(".")[2]
        for one in targets
    )


def idle_statements(file: str, tree: ast.Module) -> Iterator[IdleStatement]:
    """Methods that are named and not called, misspelt flags, one data set's attributes set through two parts."""
    has_flag = any(isinstance(one, ast.FunctionDef) and one.name == "requires_grad" for one in walk(tree))
    for node in walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Attribute) and node.value.attr in METHODS:
            yield _idle(file, node, "not-called", ast.unparse(node.value))
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and target.attr in MISSPELT:
                    yield _idle(file, node, "no-such-flag", ast.unparse(node))
        elif isinstance(node, ast.FunctionDef | ast.Module):
            yield from _shared_attributes(file, node)
        if isinstance(node, ast.FunctionDef | ast.Module | ast.ClassDef) and not has_flag:
            yield from _module_flags(file, node)
        if isinstance(node, ast.FunctionDef | ast.For | ast.While | ast.With | ast.If):  # at the top it may be shown
            yield from _compared(file, node)
        if isinstance(node, ast.FunctionDef | ast.For | ast.While):
            yield from _overwritten(file, node)


def _module_flags(file: str, scope: ast.FunctionDef | ast.ClassDef | ast.Module) -> Iterator[IdleStatement]:
    """``x.requires_grad = False`` where ``x`` is called, or asked for its parameters: a module, which has no such flag.

    A tensor can be neither. In a class ``self.x`` is looked for in all of its methods.
    """
    inside = list(_statements(scope)) if not isinstance(scope, ast.ClassDef) else list(walk(scope))
    flags: list[tuple[ast.Assign, str]] = []
    for node in inside:
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            constant = isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool)
            if isinstance(target, ast.Attribute) and target.attr == "requires_grad" and constant:
                owner = ast.unparse(target.value)
                if owner.startswith("self.") == isinstance(scope, ast.ClassDef):
                    flags.append((node, owner))
    if not flags:
        return
    known = {owner for node in inside for owner in _modules_in(node)}
    for node, owner in flags:
        if owner in known:
            yield _idle(file, node, "module-flag", ast.unparse(node)).model_copy(update={"detail": "sources"})


def _modules_in(node: ast.AST) -> Iterator[str]:
    """Sources of what a statement calls as a function, asks for parameters, or takes from the modules of another."""
    if isinstance(node, ast.For) and isinstance(node.iter, ast.Call) and name_of(node.iter.func) in PARTS:
        names = node.target.elts[1:] if isinstance(node.target, ast.Tuple) else [node.target]
        yield from (ast.unparse(one) for one in names)
    nested = (node,) if isinstance(node, ast.Call) else walk(node) if isinstance(node, ast.stmt) else ()
    for one in nested:
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name | ast.Attribute):
            yield ast.unparse(one.func)
            if isinstance(one.func, ast.Attribute) and one.func.attr in (*PARTS, *OF_MODULES):
                yield ast.unparse(one.func.value)


def _compared(file: str, scope: ast.stmt) -> Iterator[IdleStatement]:
    """``p.requires_grad == False`` where ``=`` was meant."""
    for node in [*getattr(scope, "body", ()), *getattr(scope, "orelse", ())]:
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Compare):
            continue
        compared = node.value
        if len(compared.ops) == 1 and isinstance(compared.ops[0], ast.Eq) and isinstance(compared.left, _PLACES):
            yield _idle(file, node, "compared", ast.unparse(node))


def _overwritten(file: str, scope: ast.FunctionDef | ast.For | ast.While) -> Iterator[IdleStatement]:
    """``total = a + b`` and, before anything reads it, ``total = c`` in the same block: the first was for nothing.

    Only what is computed from other values by arithmetic counts: a call may have been made for what it does.
    """
    open_: dict[str, ast.Assign] = {}
    for node in scope.body:
        name, value = _computed(node)
        mentioned = {one.id for one in walk(node) if isinstance(one, ast.Name)}
        if name and value is not None:
            read = {one.id for one in walk(value) if isinstance(one, ast.Name)}
            if name in open_ and name not in read:
                yield _idle(file, node, "overwritten", ast.unparse(node)).model_copy(
                    update={"detail": ast.unparse(open_[name])[:120]}
                )
            mentioned = read | {name}
        for one in mentioned & open_.keys():
            del open_[one]
        if name and value is not None and _arithmetic(value) and isinstance(node, ast.Assign):
            open_[name] = node


def _computed(node: ast.stmt) -> tuple[str, ast.expr | None]:
    """The single name that a statement gives a value, and the value."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    return "", None


def _arithmetic(value: ast.expr) -> bool:
    """True for arithmetic on names: ``a + w * b``, ``sum(w[k] * l for k, l in ...)``."""
    if isinstance(value, ast.Call) and name_of(value.func) == "sum" and value.args:
        value = value.args[0].elt if isinstance(value.args[0], ast.GeneratorExp | ast.ListComp) else value.args[0]
    return isinstance(value, ast.BinOp) and sum(isinstance(one, ast.Name) for one in walk(value)) > 1


def _idle(file: str, node: ast.stmt, form: str, source: str) -> IdleStatement:
    return IdleStatement(form=form, source=source, where=Location(file=shown_path(file), line=node.lineno))


def _shared_attributes(file: str, scope: ast.FunctionDef | ast.Module) -> Iterator[IdleStatement]:
    """``a.dataset.t = x; b.dataset.t = y`` where one ``random_split`` made ``a`` and ``b``: the last holds for both."""
    together: list[set[str]] = []
    set_by: dict[tuple[int, str], tuple[str, str]] = {}
    for node in _statements(scope):
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target = node.targets[0]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Call):
            if name_of(node.value.func) == "random_split":
                together.append({one.id for one in target.elts if isinstance(one, ast.Name)})
        elif (
            isinstance(target, ast.Attribute)
            and isinstance(target.value, ast.Attribute)
            and target.value.attr == "dataset"
            and isinstance(target.value.value, ast.Name)
        ):
            owner, value = target.value.value.id, ast.unparse(node.value)
            for number, names in enumerate(together):
                if owner not in names:
                    continue
                before = set_by.get((number, target.attr))
                if before is not None and before[0] != owner and before[1] != value:
                    yield _idle(file, node, "shared-attribute", ast.unparse(node))
                set_by[number, target.attr] = (owner, value)


def _statements(scope: ast.AST) -> Iterator[ast.stmt]:
    """Statements of a function or module in order, those of functions inside it left out."""
    for child in children(scope):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(child, ast.stmt):
            yield child
        yield from _statements(child)


# -- figures that select -----------------------------------------------------------------------------------------


def kept_figures(file: str, tree: ast.Module) -> Iterator[KeptFigure]:
    """``if value < best: best = value; save(...)`` and its like, and callbacks that watch a figure."""
    for node in walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            found = _comparison(file, node, node.test)
            if found is not None:
                yield found
        elif isinstance(node, ast.Call) and name_of(node.func) in WATCHERS and _is_lightning(tree):
            given = {one.arg: one.value for one in node.keywords}
            monitor, mode = given.get("monitor"), given.get("mode")
            if not isinstance(monitor, ast.Constant) or not isinstance(monitor.value, str):
                continue
            if mode is not None and not (isinstance(mode, ast.Constant) and mode.value in ("min", "max")):
                continue
            kept = "lower" if mode is None or getattr(mode, "value", "") == "min" else "higher"
            where = Location(file=shown_path(file), line=node.lineno)
            how = name_of(node.func) + ("" if mode is not None else ' without mode, which is "min"')
            yield KeptFigure(figure=monitor.value, keeps=kept, better=better(monitor.value), by=how, where=where)


def _comparison(file: str, node: ast.If, test: ast.Compare) -> KeptFigure | None:
    left, right, op = test.left, test.comparators[0], test.ops[0]
    if not isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
        return None
    for figure, best, lower in (
        (left, right, isinstance(op, ast.Lt | ast.LtE)),
        (right, left, isinstance(op, ast.Gt | ast.GtE)),
    ):
        name, kept = _plain(figure), ast.unparse(best)
        if "best" not in kept.lower() or "best" in name.lower() or not name:
            continue
        assigns = any(_assigns(one, kept, name) for one in node.body)
        body = [inner for one in node.body for inner in walk(one)]
        saves = any(isinstance(one, ast.Call) and name_of(one.func) in KEEPS for one in body)
        if assigns and saves:
            where = Location(file=shown_path(file), line=node.lineno)
            shown = ast.unparse(test)
            direction = better(name) or better(kept)
            return KeptFigure(
                figure=name, keeps="lower" if lower else "higher", better=direction, by=shown, where=where
            )
    return None


def _assigns(statement: ast.stmt, target: str, name: str) -> bool:
    """``best = value``, or ``best, state = value, ...``."""
    if not isinstance(statement, ast.Assign):
        return False
    pairs: list[tuple[ast.expr, ast.expr]] = []
    for one in statement.targets:
        if isinstance(one, ast.Tuple) and isinstance(statement.value, ast.Tuple):
            pairs += zip(one.elts, statement.value.elts, strict=False)
        else:
            pairs.append((one, statement.value))
    return any(ast.unparse(left) == target and _plain(right) == name for left, right in pairs)


def _plain(node: ast.expr) -> str:
    """Source of a value without ``float(...)`` and ``.item()`` around it; "" for what is no name of a figure."""
    while isinstance(node, ast.Call):
        if name_of(node.func) in ("float", "round") and node.args:
            node = node.args[0]
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ("item", "mean", "cpu") and not node.args:
            node = node.func.value
        else:
            return ""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) else ""


def better(name: str) -> str:
    """``lower`` or ``higher``, as the name of a figure says; "" where it says neither or both."""
    if re.search(r"neg|minus|inv|gain|drop|improve", name.lower()):
        return ""
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])", name) if word]
    down, up = any(LOWER.fullmatch(one) for one in words), any(HIGHER.fullmatch(one) for one in words)
    if down and up:  # ``dice_loss`` is a loss
        return "lower" if words[-1] in ("loss", "error", "err") else ""
    return "lower" if down else "higher" if up else ""


def _is_lightning(tree: ast.Module) -> bool:
    """Names from Lightning; Keras and others choose the direction themselves."""
    return any(
        (isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ("lightning", "pytorch_lightning"))
        or (
            isinstance(node, ast.Import)
            and any(a.name.split(".")[0] in ("lightning", "pytorch_lightning") for a in node.names)
        )
        for node in walk(tree)
    )
