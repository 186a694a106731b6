"""The terms of a loss, recovered from the arithmetic of scalars, and what each does to the parameters.

Nothing is declared by the script. While an iteration is watched, the line of every scalar that requires a gradient is
remembered under the sequence number of its autograd node (a number keeps no graph alive). At ``backward`` the graph is
followed from the loss through ``+ - * /`` by constants down to the nodes where something else begins: the terms. Their
gradients are taken one by one with ``autograd.grad``, which touches no ``.grad`` and consumes no random numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_loss import LossTermSeen
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.nonfinite import graph_nodes
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.collectors.purity import Purity
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.runtime.call_sites import CallSite, stack
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.source_text import assigned_name, function_name
from traindx.watch.runtime.watch import Collector, Watch
from traindx.watch.runtime.wiring import Signal

PASS_THROUGH = (
    "ToCopyBackward0",
    "CloneBackward0",
    "AliasBackward0",
    "ViewBackward0",
    "UnsafeViewBackward0",
    "ReshapeAliasBackward0",
    "SqueezeBackward",
    "UnsqueezeBackward0",
    "PermuteBackward0",
)
MOST_TERMS = 12
WHOLE_GRADIENTS = 2_000_000  # elements; larger gradients are compared on a strided sample


@dataclass
class Note:
    """A scalar that was computed in the watched iteration."""

    sites: tuple[CallSite, ...]
    function: str
    value: Any
    factor: float | None = None  # of a product or quotient by a number
    whole: bool = False  # what a loss function of torch gave: its own arithmetic is no sum of terms


TWICE = "BackwardBackward"  # in names of nodes that a backward pass with ``create_graph`` made


@dataclass
class Leaf:
    """A term of the present loss: an edge of the graph, its factor, and the lines of its last weight and sum."""

    node: Any
    number: int
    factor: float
    join: CallSite | None
    added: CallSite | None = None

    @property
    def sequence(self) -> int:
        """Sequence number of the node."""
        return compat.number(self.node)


@dataclass
class Term:
    """What is known of a term over all watched iterations."""

    origin: CallSite | None
    join: CallSite | None
    backward: CallSite
    function: str
    name: str
    weights: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    meets_data: bool = False
    sums: bool = False
    of_derivatives: bool = False
    extents: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    cosines: list[float] = field(default_factory=list)


class LossTerms(Collector):
    """Recovers terms and takes gradients apart.

    Attributes:
        taking_apart: True while gradients of single terms are computed (hooks on tensors must not count them).
        notes: Scalars of the watched iteration by sequence number.
        data: Sequence numbers of nodes outside the networks at which a gradient-carrying tensor met data.
        region: Sequence numbers of all nodes outside the networks.
        on_constants: Tells, at every backward pass, which sums on the way to the terms had a constant operand.
        on_terms: Tells the terms of every backward pass, each with the nodes of the graph at which it begins.
    """

    subject = "loss terms"

    def __init__(
        self,
        watch: Watch,
        calls: TorchCalls,
        backwards: Backwards,
        networks: Networks,
        optimisers: Optimisers,
        purity: Purity,
    ) -> None:
        super().__init__(watch)
        self.purity = purity
        self.calls = calls
        self.backwards = backwards
        self.networks = networks
        self.optimisers = optimisers
        self.taking_apart = False
        self.notes: dict[int, Note] = {}
        self.data: set[int] = set()
        self.region: set[int] = set()
        self.on_constants: Signal[[list[int]]] = Signal(watch)
        self.on_terms: Signal[[Backward, list[tuple[Term, list[Any]]]]] = Signal(watch)
        self._terms: dict[tuple[Any, ...], Term] = {}
        self._loss_functions: set[Any] = set()
        self._plain: tuple[Any, ...] = ()
        self._total = ""  # the variable that holds the present loss

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        self._plain = (torch.Tensor, torch.nn.Parameter)
        functional = torch.nn.functional
        self._loss_functions = {
            getattr(functional, name)
            for name in dir(functional)
            if name.endswith(("_loss", "cross_entropy", "_logits", "kl_div"))
        }
        self.calls.on_scalars(self, self._scalar)
        self.calls.on_every(self, self._any)
        self.backwards.on_backward(self, self._look)

    def begin(self) -> None:
        """Forget the scalars of the last watched iteration."""
        self.notes.clear()
        self.data.clear()
        self.region.clear()

    # -- while the loss is computed ------------------------------------------------------------------------------

    def _scalar(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        node = compat.node_of(out)
        if node is None:
            return
        name = getattr(func, "__name__", "")
        on_cpu = out.device.type == "cpu"
        value = out.item() if on_cpu else out.detach().clone()  # a view would keep what it is of alive
        note = Note(stack(3, 4), name, value, number_factor(name, args), func in self._loss_functions)
        self.notes[compat.number(node)] = note

    def _any(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Outside the networks: does a tensor that carries a gradient meet one that does not (a target)?"""
        if not out.requires_grad or (self.networks.depth and func not in self._loss_functions):
            return
        node = compat.node_of(out)
        if node is None:
            return
        number = compat.number(node)
        self.region.add(number)
        if func in self._loss_functions:
            self.data.add(number)
            return
        for value in args:
            if type(value) is self._plain[0] and not value.requires_grad and value.numel() > 1:
                self.data.add(number)
                return

    # -- at backward ---------------------------------------------------------------------------------------------

    def _look(self, call: Backward) -> None:
        if self.watch.level is ObservationLevel.OFF or not self.notes or call.root.grad_fn is None:
            return
        walk = Walk(self.notes, may_read=not self.purity.why_not_read)
        walk.down(Leaf(call.root.grad_fn, 0, 1.0 / call.scale, None))
        leaves = walk.leaves
        self.on_constants.tell(walk.constants)
        groups: dict[tuple[Any, ...], list[Leaf]] = {}
        for leaf in leaves:
            groups.setdefault(self._key(leaf, call.site), []).append(leaf)
        if len(groups) > MOST_TERMS:
            return
        root = self.notes.get(compat.number(call.root.grad_fn))
        self._total = assigned_name(root.sites[0]) if root is not None and root.sites else ""
        for key, members in groups.items():
            self._remember(key, members, call.site)
        self.on_terms.tell(call, [(self._terms[key], [one.node for one in members]) for key, members in groups.items()])
        apart = self.watch.level is ObservationLevel.FULL and self.watch.iteration > 0 and len(groups) > 1
        if apart and call.value is not None and math.isfinite(call.value):
            reason = self.purity.why_not_again(call.root.grad_fn)
            if reason:
                self.watch.not_examined("gradients of single loss terms", reason, call.site)
            else:
                self._take_apart(groups, call)

    def _key(self, leaf: Leaf, backward: CallSite) -> tuple[Any, ...]:
        note = self.notes.get(leaf.sequence)
        site = note.sites[0] if note is not None and note.sites else None
        return (backward, site, leaf.join, leaf.node.name())

    def _remember(self, key: tuple[Any, ...], members: list[Leaf], backward: CallSite) -> None:
        leaf = members[0]
        note = self.notes.get(leaf.sequence)
        term = self._terms.get(key)
        if term is None:
            origin = note.sites[0] if note is not None and note.sites else None
            function = note.function if note is not None else leaf.node.name().removesuffix("Backward0")
            name = term_name(note, leaf, backward, self._total) or function
            term = self._terms[key] = Term(origin, leaf.join, backward, function, name)
        term.weights.append(sum(member.factor for member in members) / len(members))
        term.values.append(float(note.value) if note is not None else math.nan)
        term.meets_data = term.meets_data or any(self._meets_data(member.node) for member in members)
        term.sums = term.sums or sums_up(leaf.node)
        if self.watch.level is ObservationLevel.FULL and not term.of_derivatives:
            term.of_derivatives = any(TWICE in node.name() for node in graph_nodes(leaf.node))
        term.extents.append(sum(abs(member.factor) * added_up(member.node) for member in members))

    def _meets_data(self, node: Any) -> bool:
        """Does the part of the graph outside the networks, from this node down, compare with data?"""
        waiting: list[Any] = [node]
        seen: set[int] = set()
        while waiting and len(seen) < 400:
            current = waiting.pop()
            number = compat.number(current)
            if number in self.data:
                return True
            if number in seen or number not in self.region:
                continue
            seen.add(number)
            waiting.extend(child for child, _ in current.next_functions if child is not None)
        return False

    def _take_apart(self, groups: dict[tuple[Any, ...], list[Leaf]], call: Backward) -> None:
        torch = self.watch.torch
        parameters = self.optimisers.parameters_after(call.site)
        if not parameters:
            return
        total = sum(parameter.numel() for parameter in parameters)
        stride = max(1, math.ceil(total * len(groups) / WHOLE_GRADIENTS)) | 1 if total > WHOLE_GRADIENTS // 4 else 1
        vectors, norms = [], []
        self.taking_apart = True
        self.watch.in_backward = True
        try:
            for members in groups.values():
                edges = tuple(torch.autograd.graph.GradientEdge(leaf.node, leaf.number) for leaf in members)
                seeds = tuple(seed_of(torch, leaf) for leaf in members)
                grads = self.watch.grad(edges, parameters, seeds, retain_graph=True, allow_unused=True)
                if any(g is not None and g.layout is not torch.strided for g in grads):
                    self.watch.not_examined("gradients of single loss terms", "they are sparse", call.site)
                    return
                norms.append(math.sqrt(sum(float(g.float().norm()) ** 2 for g in grads if g is not None)))
                flat = [
                    (torch.zeros_like(p) if g is None else g).reshape(-1)[::stride].float()
                    for g, p in zip(grads, parameters, strict=True)
                ]
                vectors.append(torch.cat(flat))
        finally:
            self.taking_apart = False
            self.watch.in_backward = False
        whole = sum(norms)
        everything = torch.stack(vectors).sum(dim=0)
        for key, vector, size in zip(groups, vectors, norms, strict=True):
            rest = everything - vector
            term = self._terms[key]
            scale = float(vector.norm() * rest.norm())
            term.iterations.append(self.watch.iteration)
            term.norms.append(size)
            term.shares.append(size / whole if whole > 0 else 0.0)
            term.cosines.append(float(vector @ rest) / scale if scale > 0 else 0.0)

    def records(self) -> Iterable[Record]:
        """One record a term."""
        for term in self._terms.values():
            yield LossTermSeen(
                name=term.name,
                where=self.watch.shown(term.join or term.origin),
                backward=term.backward.location(),
                origin=term.origin.location() if term.origin is not None else None,
                function=term.function,
                weight=term.weights[-1],
                first_weight=term.weights[0],
                values=tuple(term.values[-64:]),
                meets_data=term.meets_data,
                sums=term.sums,
                of_derivatives=term.of_derivatives,
                extents=(min(term.extents), max(term.extents)),
                gradient_iterations=tuple(term.iterations),
                gradient_norms=tuple(term.norms),
                gradient_shares=tuple(term.shares),
                cosines=tuple(term.cosines),
                step=self.watch.iteration,
            )


@dataclass
class Walk:
    """The way from a loss down to its terms, through scalar arithmetic.

    Attributes:
        notes: Scalars of this iteration, for their lines.
        may_read: Saved tensors of the graph may be read (that runs the script's own unpacking, if it has one).
        leaves: The terms found.
        constants: Sequence numbers of sums with a constant operand.
    """

    notes: dict[int, Note]
    may_read: bool = True
    leaves: list[Leaf] = field(default_factory=list)
    constants: list[int] = field(default_factory=list)

    def down(self, leaf: Leaf, depth: int = 0) -> None:
        """Follow a node to the terms below it, or take it as a term."""
        if depth > 64 or len(self.leaves) > 256 or not is_small(leaf.node):
            self.leaves.append(leaf)
            return
        steps = self._steps(leaf)
        if steps is None:
            self.leaves.append(leaf)
            return
        for step in steps:
            self.down(step, depth + 1)

    def _line(self, node: Any) -> CallSite | None:
        note = self.notes.get(compat.number(node))
        return note.sites[0] if note is not None and note.sites else None

    def _steps(self, leaf: Leaf) -> list[Leaf] | None:  # noqa: PLR0911  (one return a kind of node)
        """The operands of a sum, product or mean, with their factors; None where something else begins."""
        node, name = leaf.node, leaf.node.name()
        children = [child for child in node.next_functions if child[0] is not None]
        line = self._line(node)
        told = self.notes.get(compat.number(node))
        if told is not None and told.whole:
            return None

        def weighted(child: tuple[Any, int], times: float, join: CallSite | None) -> Leaf:
            return Leaf(child[0], child[1], leaf.factor * times, join, leaf.added)

        if name in ("AddBackward0", "SubBackward0") and same_shape(node, children):
            alpha = float(compat.saved(node, "alpha")) * (1.0 if name == "AddBackward0" else -1.0)
            alone = len(children) == 1
            if alone:
                self.constants.append(compat.number(node))
            return [
                Leaf(
                    child[0],
                    child[1],
                    leaf.factor * (alpha if index else 1.0),
                    leaf.join if alone else line,
                    leaf.added if alone else line,
                )
                for index, child in enumerate(node.next_functions)
                if child[0] is not None
            ]
        if len(children) != 1:
            return None
        if name == "RsubBackward1":
            self.constants.append(compat.number(node))
            return [weighted(children[0], -float(compat.saved(node, "alpha")), leaf.join)]
        if name == "NegBackward0":
            return [weighted(children[0], -1.0, leaf.join)]
        if name in ("MulBackward0", "DivBackward0"):
            note = self.notes.get(compat.number(node))
            times = note.factor if note is not None else None
            if times is None and self.may_read:
                times = constant_factor(node)
            return None if times is None else [weighted(children[0], times, line or leaf.join)]
        if name.startswith(PASS_THROUGH):
            return [weighted(children[0], 1.0, leaf.join)]
        return self._reduction(leaf, children[0], line)

    def _reduction(self, leaf: Leaf, child: tuple[Any, int], line: CallSite | None) -> list[Leaf] | None:
        """A sum or mean of stacked scalars, or of sums of one number a sample."""
        name, below = leaf.node.name(), child[0]
        if not name.startswith(("SumBackward", "MeanBackward")):
            return None
        times = leaf.factor / max(1, elements(below)) if name.startswith("Mean") else leaf.factor
        parts = [part for part in below.next_functions if part[0] is not None]
        if below.name() in ("StackBackward0", "CatBackward0") and all(elements(part) <= 1 for part, _ in parts):
            return [Leaf(part, number, times, line, line) for part, number in parts]
        if below.name() in ("AddBackward0", "SubBackward0") and is_small(below) and len(parts) == 2:
            return [Leaf(below, child[1], times, line, line)]
        return None


def number_factor(name: str, args: tuple[Any, ...]) -> float | None:
    """What a call ``number * tensor`` or ``tensor / number`` multiplies its tensor by; None for other calls."""
    numbers = [value for value in args[:2] if isinstance(value, int | float)]
    if len(numbers) != 1:
        return None
    number = float(numbers[0])
    if name in ("mul", "__mul__", "__rmul__", "multiply", "mul_", "__imul__"):
        return number
    if name in ("div", "__truediv__", "true_divide", "divide", "div_", "__itruediv__") and args[0] is not numbers[0]:
        return 1.0 / number if number else None
    return None


def constant_factor(node: Any) -> float | None:
    """The constant that a product or quotient with one differentiable operand multiplies by, if it is one number."""
    first = node.next_functions[0][0] is not None
    if node.name() == "DivBackward0" and not first:
        return None
    saved = compat.saved(node, "other" if first else "self")
    if saved is None or saved.numel() != 1:
        return None
    value = float(saved)
    if node.name() == "DivBackward0":
        return 1.0 / value if value else None
    return value


def shape_of(node: Any, number: int = 0) -> tuple[int, ...] | None:
    """Shape of a node's output."""
    metadata = compat.expected_gradients(node)
    return tuple(metadata[number].shape) if metadata else None


def elements(node: Any) -> int:
    """Number of elements of a node's first output; a large number where it is unknown."""
    shape = shape_of(node)
    return math.prod(shape) if shape is not None else 1 << 30


def is_small(node: Any) -> bool:
    """A scalar, or one number a sample."""
    shape = shape_of(node)
    return shape is not None and ((len(shape) <= 1 and math.prod(shape) <= 4096) or math.prod(shape) == 1)


def same_shape(node: Any, children: list[tuple[Any, int]]) -> bool:
    """No broadcasting between the operands of a sum."""
    return all(elements(child) == elements(node) for child, _ in children)


def seed_of(torch: Any, leaf: Leaf) -> Any:
    """The gradient that arrives at a term: its factor, spread over a vector where it is one."""
    metadata = compat.expected_gradients(leaf.node)[leaf.number]
    return torch.full(tuple(metadata.shape), leaf.factor, dtype=metadata.dtype, device=metadata.device)


def sums_up(node: Any) -> bool:
    """True if a term adds up many elements without dividing by their number."""
    name = node.name()
    if name.startswith("SumBackward"):
        below = node.next_functions[0][0]
        return below is not None and elements(below) > 1
    return bool(compat.saved(node, "reduction", None) == 2)  # at::Reduction::Sum


def added_up(node: Any) -> int:
    """How many numbers a term adds up; 1 for a mean, and where something else is computed."""
    below = node.next_functions[0][0] if sums_up(node) else None
    return elements(below) if below is not None else 1


def term_name(note: Note | None, leaf: Leaf, backward: CallSite, total: str) -> str:
    """What the user calls a term: the variable it is assigned to, else the function that computes it."""
    if leaf.join is not None and leaf.join != leaf.added:  # weighted on a line of its own: ``kl = 0.1 * ...``
        name = assigned_name(leaf.join)
        if name:
            return name
    if note is None or not note.sites:
        return ""
    outer = leaf.join or backward
    for site in note.sites:
        if enclosing(site) == enclosing(outer):
            name = assigned_name(site)
            return "" if site.line == outer.line and name == total else name
        name = function_name(site)
        if name:
            return name
    return ""


def enclosing(site: CallSite) -> str:
    """The function that a site is in; a comprehension, generator or lambda counts as part of it."""
    return re.sub(r"(\.<locals>\.<\w+>)+$", "", site.symbol)
