"""Where a tensor came from, as far as the loss needs to know: its last activation, a clamp, a cut of the gradient.

Tags are kept by weak reference, so that nothing lives longer for being tagged, and follow a tensor only through calls
that leave its values as they are (reshaping, slicing, moving, casting).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from traindx.core import compat
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.torch_calls import TorchCalls, argument, call_site, named_functions
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.watch import Collector, Watch

ACTIVATIONS = ("sigmoid", "softmax", "log_softmax", "logsigmoid", "tanh", "softplus", "hardsigmoid")
LAYOUT = [
    "view",
    "reshape",
    "flatten",
    "unflatten",
    "squeeze",
    "permute",
    "transpose",
    "movedim",
    "contiguous",
    "float",
    "double",
    "half",
    "bfloat16",
    "to",
    "cpu",
    "cuda",
    "type",
    "type_as",
    "clone",
    "__getitem__",
    "select",
    "narrow",
    "expand",
    "repeat",
    "index_select",
    "masked_select",
    "flip",
    "roll",
    "chunk",
    "split",
    "t",
    "alias",
    "requires_grad_",
    "view_as",
    "reshape_as",
    "swapaxes",
    "unbind",
]
KEEPS_AXES = (
    "contiguous",
    "float",
    "double",
    "half",
    "bfloat16",
    "to",
    "cpu",
    "cuda",
    "type",
    "type_as",
    "clone",
    "alias",
)
MIXING = (
    *("add", "iadd", "sum", "nansum", "mean", "nanmean", "median", "mul", "imul", "multiply"),
    *("div", "idiv", "truediv", "itruediv", "true_divide", "divide", "lerp", "addcmul", "addcdiv", "where"),
)  # fmt: skip
PROBABILITIES = ("sigmoid", "softmax")
MOST_TAGS = 16_384
MAKES_AXIS = ("unsqueeze", "expand", "view", "reshape", "repeat", "expand_as", "meshgrid", "__getitem__")


@dataclass(frozen=True)
class Tag:
    """What is known of a tensor.

    Attributes:
        activation: Name of its last activation, or "".
        site: Where that is applied.
        made: Where the library module that applies it was constructed.
        clamp: Key of the clamp it came out of, or None.
        cut: Where its gradient was cut.
        axis: Somebody gave it an axis on purpose.
        over: Axis that its softmax normalised, counted from 0; -1 if there is none or the layout changed since.
        dims: Number of axes it had then.
        averaged: Activation of the tensors that it was put together from by sums, weights and counts, outside of
            networks: windows that overlap, flips, members of an ensemble.
    """

    activation: str = ""
    site: CallSite | None = None
    made: CallSite | None = None
    clamp: Any = None
    cut: CallSite | None = None
    axis: bool = False
    over: int = -1
    dims: int = -1
    averaged: str = ""


class Provenance(Collector):
    """Tags tensors during watched iterations."""

    subject = "activations"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self._tags: dict[int, tuple[Any, Tag]] = {}
        self._activated: list[tuple[Collector, Callable[..., Callable[[Any], None] | None]]] = []
        self.numbers: dict[float, CallSite] = {}
        self.last_cut: tuple[CallSite | None, str] = (None, "")  # where a single number lost its graph
        self._mixing: set[Any] = set()
        self._plain: tuple[Any, ...] = ()
        self._classes = False  # a tensor of a library's class came out of an activation
        self._limit = MOST_TAGS

    def on_activation(self, collector: Collector, before: Callable[..., Callable[[Any], None] | None]) -> None:
        """Call ``before(name, tensor, tag_of_tensor, site, made)`` at every activation; its result gets the output."""
        self._activated.append((collector, before))

    def clear(self) -> None:
        """Hold no weak reference to any tensor any more."""
        self._tags.clear()

    def pop(self, tensor: Any, default: Any = None) -> None:
        """Hold no weak reference to a tensor any more."""
        self._tags.pop(id(tensor), None)

    def install(self) -> None:
        """Subscribe to activations, layout calls and cuts."""
        self.watch.weak_tables.append(self)
        torch = self.watch.torch
        self._plain = (torch.Tensor, torch.nn.Parameter)
        self.calls.on(self, named_functions(torch, (*ACTIVATIONS, "relu")), self._activation)
        self.calls.on(self, named_functions(torch, tuple(LAYOUT)), self._layout)
        self.calls.on(self, named_functions(torch, ("unsqueeze", "expand_as")), self._layout)
        self.calls.on(self, named_functions(torch, ("cat", "concat", "stack")), self._joined)
        self.calls.on(self, {torch.Tensor.__setitem__: "setitem"}, self._filled)
        self._mixing = set(named_functions(torch, MIXING))
        self.calls.on_any(self, self._mixed)  # of any class
        self.calls.on(self, named_functions(torch, ("detach",)), self._cut)
        self.calls.on(self, {torch.Tensor.data.__get__: "data"}, self._cut)
        self.calls.on(self, {torch.Tensor.item: "item", torch.Tensor.__float__: "float"}, self._number)

    def begin(self) -> None:
        """Old tensors are gone."""
        self._tags.clear()
        self.numbers.clear()
        self.last_cut = (None, "")

    def tag(self, tensor: Any) -> Tag | None:
        """What is known of a tensor, or None."""
        entry = self._tags.get(id(tensor))
        if entry is None or entry[0]() is not tensor:
            return None
        return entry[1]

    def _known(self, tensor: Any) -> Tag | None:
        """What is known of a tensor, or of the one that it is a view of: not every view is made in our sight.

        A change of class (``as_subclass``, which libraries with tensors of their own live by) asks no function mode.
        """
        tag = self.tag(tensor)
        if tag is not None or not self._tags or not isinstance(tensor, self.watch.torch.Tensor):
            return tag
        if type(tensor) in self._plain and not self._classes:  # to ask for the whole makes a tensor that can be counted
            return None
        with compat.no_tensor_classes(self.watch.torch):
            whole = self.tag(tensor._base)
        if whole is None or not (whole.activation or whole.averaged):
            return None
        return Tag(whole.activation, whole.site, whole.made, averaged=whole.averaged)

    def put(self, tensor: Any, tag: Tag) -> None:
        """Tag a tensor."""
        if len(self._tags) >= self._limit:
            self._tags = {key: entry for key, entry in self._tags.items() if entry[0]() is not None}
            self._limit = 2 * len(self._tags) + MOST_TAGS
        self._tags[id(tensor)] = (self.watch.torch.utils.weak.TensorWeakRef(tensor), tag)
        if type(tensor) not in self._plain and (tag.activation or tag.averaged):
            self._classes = True
            with compat.no_tensor_classes(self.watch.torch):
                whole = tensor._base  # what torch returned, before it was given the class of a library's
                same = whole is not None and whole.shape == tensor.shape
            if same and type(whole) in self._plain:
                self.put(whole, tag)

    def _activation(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        tensor = argument(args, kwargs, 0, "input")
        if not isinstance(tensor, self.watch.torch.Tensor) or tensor.numel() < 2:
            return None
        site, made = call_site(), self.networks.library_maker()
        before = self._known(tensor)
        afters = [
            after for _, tell in self._activated if (after := tell(name, tensor, before, site, made, args, kwargs))
        ]

        def done(out: Any) -> None:
            over = argument(args, kwargs, 1, "dim") if "softmax" in name else None
            dims = out.dim()
            self.put(out, Tag(name, site, made, over=over % dims if isinstance(over, int) else -1, dims=dims))
            for after in afters:
                after(out)

        return done

    def _layout(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        tensor = argument(args, kwargs, 0, "input")
        known = self._known(tensor) or Tag()
        if known.over >= 0 and name not in KEEPS_AXES:
            known = replace(known, over=-1, dims=-1)
        if name in MAKES_AXIS and (name != "__getitem__" or _has_new_axis(args)):
            known = replace(known, axis=True)
        if known == Tag():
            return None
        return lambda out: self._spread(out, known)

    def _joined(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        parts = argument(args, kwargs, 0, "tensors", ())
        tags = [self.tag(part) for part in parts] if isinstance(parts, list | tuple) else []
        first = tags[0] if tags else None
        if first is None or any(tag is None or tag.activation != first.activation for tag in tags):
            return None
        return lambda out: self.put(out, replace(first, clamp=None, axis=False))

    def _filled(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A whole that is put together from patches: ``volume[window] = patch``."""
        tag = self.tag(args[2]) if len(args) > 2 else None
        if tag is not None and (tag.activation or tag.averaged):
            self.put(args[0], replace(tag, clamp=None, axis=False))

    def _mixed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Sums and weighted sums of probabilities outside of networks; whether they are averages shows in the range."""
        if func not in self._mixing or self.networks.depth or self.watch.busy:
            return
        for value in args:
            entry = self._tags.get(id(value))
            if entry is None or entry[0]() is not value:
                continue
            tag = entry[1]
            name = tag.averaged or tag.activation
            if name in PROBABILITIES and isinstance(out, self.watch.torch.Tensor):
                self.put(out, Tag(site=tag.site, made=tag.made, averaged=name))
                return

    def _spread(self, out: Any, known: Tag) -> None:
        for item in out if isinstance(out, tuple | list) else (out,):
            if isinstance(item, self.watch.torch.Tensor):
                self.put(item, known)

    def _cut(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        tensor = argument(args, kwargs, 0, "input")
        known, site = self.tag(tensor) or Tag(), call_site()
        if tensor.requires_grad:
            known = replace(known, cut=site)
            if tensor.numel() == 1:
                self.last_cut = (site, name)
        elif known == Tag():
            return None
        return lambda out: self.put(out, known)

    def _number(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        tensor, site = args[0], call_site()
        tag = self.tag(tensor)
        if site is None or not (tensor.requires_grad or (tag is not None and tag.cut is not None)):
            return None

        if tensor.requires_grad:
            self.last_cut = (site, name)

        def done(out: Any) -> None:
            if isinstance(out, float) and len(self.numbers) < 4096:
                self.numbers[out] = site

        return done


def _has_new_axis(args: tuple[Any, ...]) -> bool:
    """``x[:, None]``."""
    index = args[1] if len(args) > 1 else None
    return index is None or (isinstance(index, tuple) and any(part is None for part in index))
