"""Calls of functions and layers whose documentation says what they expect, held against the catalogue of contracts."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial, wraps
from itertools import pairwise
from types import ModuleType
from typing import Any

from traindx.evidence.base import Record
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.collectors.torch_calls import TorchCalls, named_functions
from traindx.watch.contracts import losses, mirrors, models, sequences, training, values
from traindx.watch.contracts.base import IN_ORDER, Broken, Check, Given, Said, Tally, bound
from traindx.watch.runtime.call_sites import CallSite, here, users
from traindx.watch.runtime.calling import caller_of_ours
from traindx.watch.runtime.watch import Collector, Watch

FUNCTIONS = (
    *(*losses.FUNCTIONS, *sequences.FUNCTIONS, *training.FUNCTIONS, *values.FUNCTIONS, *models.FUNCTIONS),
    *mirrors.FUNCTIONS,
)
MODULES = (*losses.MODULES, *sequences.MODULES, *training.MODULES, *models.MODULES)
OF_NOTES = ("__getitem__", "grid_sample")  # nothing to look at where no note was made
VIEWS, VIEWED = ("view", "reshape"), "axes-exchanged-by-a-view"


@dataclass
class _Gathered:
    """What a metric holds since it began anew.

    Attributes:
        updates: How often it was given something, where it does not count itself.
        anew: It was told to, after a figure was made.
        figures: By line, updates in the last figure made there, and which pass of which loader it was.
    """

    updates: int = 0
    anew: bool = False
    figures: dict[CallSite, tuple[int, tuple[CallSite | None, int, int]]] = field(default_factory=dict)


@dataclass
class _Order:
    """Passes of a sampler that shuffles: their epochs, and who read."""

    passes: list[tuple[int, CallSite | None]] = field(default_factory=list)
    loaders: list[Loader] = field(default_factory=list)

    def said(self) -> Iterator[tuple[Said, CallSite]]:
        """Of each pass from the second one on, where it was trained on."""
        if not any(loader.trains for loader in self.loaders):
            return
        for number, ((before, _), (epoch, site)) in enumerate(pairwise(self.passes), 2):
            if site is not None:
                again = Broken(f"pass {number} with epoch {epoch}, as the one before it")
                yield again if before == epoch else IN_ORDER, site


class Contracts(Collector):
    """Looks at single calls in watched iterations and in evaluation."""

    subject = "contracts of library functions"

    def __init__(
        self, watch: Watch, calls: TorchCalls, networks: Networks, loaders: Loaders, optimisers: Optimisers
    ) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.loaders = loaders
        self.optimisers = optimisers
        self.tally = Tally()
        self._notes: Any = watch.weak_table()
        self._items = 0
        self._whole: dict[int, bool] = {}  # loaders by id: the batch lies along the first axis of all that they give
        self._by_class: dict[type[Any], tuple[Check, ...]] = {}
        self._outermost: tuple[Any, ...] = ()
        self._samplers: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._orders: list[_Order] = []
        self._gathered: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._betas: dict[CallSite, tuple[str, Said]] = {}

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        by_function: dict[Any, tuple[str, list[Check]]] = {}
        for check in FUNCTIONS:
            for target in check.targets:
                for function, name in functions_of(torch, target).items():
                    by_function.setdefault(function, (name, []))[1].append(check)
        for function, (name, checks) in by_function.items():
            self.calls.on(self, {function: name}, partial(self._called, tuple(checks)))
        self._outermost = tuple(getattr(torch.nn, name.removeprefix("torch.nn.")) for name in sequences.OUTERMOST)
        self.networks.on_ended(self, self._ended)
        self.loaders.on_read(self, self._read)
        self.networks.on_call(self, self._root)
        self.watch.patches.wrap(torch.nn.utils.rnn, "pack_padded_sequence", self._make_packing)
        sampler = torch.utils.data.distributed.DistributedSampler
        self.watch.patches.wrap(sampler, "__iter__", self._make_iter)

    def begin(self) -> None:
        """Tensors of an earlier iteration mean nothing any more."""
        self._notes.clear()
        for tracked in self.optimisers.order:
            optimizer = tracked.reference()
            if optimizer is not None and tracked.made is not None and tracked.made not in self._betas:
                betas = optimizer.param_groups[0].get("betas")
                self._betas[tracked.made] = (tracked.name, training.betas(betas))

    # -- the batch at hand -----------------------------------------------------------------------------------------

    def _read(self, loader: Loader, batch: Any) -> None:
        """How many samples the batch holds, where it plainly lies along the first axis of everything."""
        shapes = [tensor.shape for _, tensor in tensors_in(batch, self.watch.torch) if tensor.dim()][:8]
        lengths = {shape[0] for shape in shapes}
        length = lengths.pop() if len(lengths) == 1 else 0
        if length == loader.batch_size:
            plainly = all(len(shape) < 2 or shape[1] != length for shape in shapes)
            self._whole[id(loader)] = plainly and self._whole.get(id(loader), True)
        elif length > loader.batch_size or not length:
            self._whole[id(loader)] = False
        if self._orders:
            self._note_reader(loader)
        self._items = length if self._whole.get(id(loader), loader.batch_size == 1) else 0

    def _mixed(self) -> bool:
        """The training loader shuffles, or there is none."""
        loader = self.loaders.training()
        return loader is None or loader.shuffled

    # -- functions -------------------------------------------------------------------------------------------------

    def _called(
        self, checks: tuple[Check, ...], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[[Any], None] | None:
        if name in OF_NOTES and not self._notes:
            return None
        if name in values.ARITHMETIC and not self._of_small_integers(args):
            return None
        if name in VIEWS:
            checks = self._of_a_view(checks, args)
            if not checks:
                return None
        site = here()
        if site is None:
            return None
        wanted = [one for one in checks if name in OF_NOTES or self.tally.wanted(one.contract, site)]
        if not wanted:
            return None
        made = self.networks.library_maker()
        later = []
        for check in wanted:
            given = self._given(name, bound(check.names, args, kwargs))
            if check.after:
                later.append((check, given))
            else:
                self.tally.add(check.contract, name, site, check.look(given), made)

        def done(out: Any) -> None:
            for check, given in later:
                given.out = out
                self.tally.add(check.contract, name, site, check.look(given), made)

        return done if later else None

    def _of_a_view(self, checks: tuple[Check, ...], args: tuple[Any, ...]) -> tuple[Check, ...]:
        """Of the many views there are: those of noted tensors, and those with as many axes that the user writes."""
        sizes = args[1] if len(args) == 2 and isinstance(args[1], tuple | list) else args[1:]
        several = len(sizes) > 1 and isinstance(args[0], self.watch.torch.Tensor) and len(sizes) == args[0].dim()
        noted = bool(self._notes) and self._notes.get(args[0]) is not None
        direct = several and users(caller_of_ours().f_code.co_filename)
        return tuple(one for one in checks if (direct if one.contract == VIEWED else noted))

    def _of_small_integers(self, args: tuple[Any, ...]) -> bool:
        torch = self.watch.torch
        return len(args) > 1 and all(isinstance(one, torch.Tensor) and values.small(torch, one) for one in args[:2])

    def _given(self, name: str, named: dict[str, Any], module: Any = None, out: Any = None) -> Given:
        return Given(
            torch=self.watch.torch,
            function=name,
            named=named,
            module=module,
            out=out,
            items=self._items,
            mixed=self._mixed(),
            grad=self.watch.grad_enabled,
            depth=self.networks.depth,
            notes=self._notes,
        )

    # -- modules ---------------------------------------------------------------------------------------------------

    def _checks_of(self, kind: type[Any]) -> tuple[Check, ...]:
        known = self._by_class.get(kind)
        if known is None:
            names = {f"{one.__module__}.{one.__name__}" for one in kind.__mro__}
            names |= {f"torch.nn.{one.__name__}" for one in kind.__mro__ if one.__module__.startswith("torch.nn.")}
            known = self._by_class[kind] = tuple(one for one in MODULES if names & set(one.targets))
        return known

    def _ended(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        checks = self._checks_of(type(module))
        if not checks:
            return
        inner = isinstance(module, self._outermost) and any(
            isinstance(one, self._outermost) for one in self.networks.stack
        )
        made = self.networks.made.get(module)
        site = here()
        if inner or site is None:
            return
        name = type(module).__name__
        for check in checks:
            place = made if check.at_construction and made is not None else site
            if check.look is sequences.remember or self.tally.wanted(check.contract, place):
                given = self._given(name, bound(check.names, args, kwargs), module, out)
                self.tally.add(check.contract, name, place, check.look(given), made)

    def _root(self, call: Call) -> None:
        if not self.tally.wanted(values.ROOT.contract, call.site):
            return
        image = next((one for one in call.args if isinstance(one, self.watch.torch.Tensor) and one.dim() > 3), None)
        given = self._given(type(call.network).__name__, {"image": image}, call.network)
        self.tally.add(values.ROOT.contract, given.function, call.site, values.ROOT.look(given))

    def _make_packing(self, original: Any) -> Any:
        watch = self.watch

        def pack_padded_sequence(*args: Any, **kwargs: Any) -> Any:
            if watch.looking and watch.here_and_now:
                with watch.ours(self):
                    self._called((values.PACK,), "pack_padded_sequence", args, kwargs)
            return original(*args, **kwargs)

        return pack_padded_sequence

    def with_monai(self, module: ModuleType) -> None:
        """``monai.metrics.metric`` was imported: scores of masks."""
        watch = self.watch

        def make(original: Any) -> Any:
            def call(metric: Any, *args: Any, **kwargs: Any) -> Any:
                if watch.here_and_now:
                    with watch.ours(self):
                        self._gathered.setdefault(metric, _Gathered()).updates += 1
                if type(metric).__name__ in values.OVERLAPS and watch.looking and watch.here_and_now:
                    with watch.ours(self):
                        self._scored(metric, bound(values.METRIC.names, args, kwargs))
                return original(metric, *args, **kwargs)

            return call

        def make_read(original: Any) -> Any:
            def get_buffer(metric: Any, *args: Any, **kwargs: Any) -> Any:
                if watch.here_and_now:
                    with watch.ours(self):
                        self._figure_made(metric, self._gathered.setdefault(metric, _Gathered()).updates)
                return original(metric, *args, **kwargs)

            return get_buffer

        watch.patches.wrap(module.CumulativeIterationMetric, "__call__", make)
        watch.patches.wrap(module.Cumulative, "get_buffer", make_read)
        watch.patches.wrap(module.Cumulative, "reset", self._make_reset)

    def with_torchmetrics(self, module: ModuleType) -> None:
        """``torchmetrics.metric`` was imported: when figures are made, and whether they begin anew."""
        watch = self.watch

        def make(original: Any) -> Any:
            def wrap_compute(metric: Any, compute: Any) -> Any:
                return self._making(metric, original(metric, compute))

            return wrap_compute

        watch.patches.wrap(module.Metric, "_wrap_compute", make)
        watch.patches.wrap(module.Metric, "reset", self._make_reset)

    def _making(self, metric: Any, compute: Any) -> Any:
        watch, known = self.watch, weakref.ref(metric)

        @wraps(compute)
        def made(*args: Any, **kwargs: Any) -> Any:
            owner = known()
            if owner is not None and watch.here_and_now:
                with watch.ours(self):
                    self._figure_made(owner, int(owner._update_count))
            return compute(*args, **kwargs)

        return made

    def _make_reset(self, original: Any) -> Any:
        watch = self.watch

        def reset(metric: Any, *args: Any, **kwargs: Any) -> Any:
            if watch.here_and_now:
                with watch.ours(self):
                    known = self._gathered.get(metric)
                    used = known is not None and bool(known.figures or known.anew)  # not the one at construction
                    self._gathered[metric] = _Gathered(anew=used)
            return original(metric, *args, **kwargs)

        return reset

    def _figure_made(self, metric: Any, updates: int) -> None:
        """A figure is made of all that was gathered: more passes than one since it began anew?"""
        known = self._gathered.setdefault(metric, _Gathered())
        loader, site = self.loaders.last, here()
        if loader is None or site is None or not updates:
            return
        now = (loader.made, id(loader), loader.passes)
        before = known.figures.get(site)
        known.figures[site] = (updates, now)
        name = type(metric).__name__
        if before is None and known.anew:
            self.tally.add("metric-never-reset", name, site, IN_ORDER)
        elif before is not None and before[1][0] == now[0] and before[1] != now and updates > before[0]:
            said = Broken(f"{updates} updates, {before[0]} of which were in the figure of the pass before already")
            self.tally.add("metric-never-reset", name, site, said)

    def _scored(self, metric: Any, named: dict[str, Any]) -> None:
        site = here()
        if site is not None and self.tally.wanted(values.METRIC.contract, site):
            given = self._given(type(metric).__name__, named, metric)
            self.tally.add(values.METRIC.contract, given.function, site, values.METRIC.look(given))

    # -- samplers and optimisers -------------------------------------------------------------------------------------

    def _make_iter(self, original: Any) -> Any:
        watch = self.watch

        def iterate(sampler: Any) -> Any:
            if watch.here_and_now and sampler.shuffle:
                with watch.ours(self):
                    self._order(sampler).passes.append((int(sampler.epoch), here()))
            return original(sampler)

        return iterate

    def _order(self, sampler: Any) -> _Order:
        known: _Order | None = self._samplers.get(sampler)
        if known is None:
            known = self._samplers[sampler] = _Order()
            self._orders.append(known)
        return known

    def _note_reader(self, loader: Loader) -> None:
        """Which loader reads in the order of a sampler."""
        batches = getattr(self.loaders.reading, "_index_sampler", None)
        known = self._samplers.get(vars(batches).get("sampler")) if batches is not None else None
        if known is not None and not any(one is loader for one in known.loaders):
            known.loaders.append(loader)

    def records(self) -> Iterable[Record]:
        """One record a contract and line."""
        last = Tally()
        for order in self._orders:
            for said, site in order.said():
                last.add("same-order-every-epoch", "DistributedSampler", site, said)
        for made, (name, said) in self._betas.items():
            last.add("betas-exchanged", name, made, said)
        yield from self.tally.records(self.watch)
        yield from last.records(self.watch)


def functions_of(torch: Any, target: str) -> dict[Any, str]:
    """Functions of torch by a dotted name, or all of a name where there are several."""
    if "." not in target:
        return named_functions(torch, (target,))
    found: Any = torch
    for part in target.split(".")[1:]:
        found = getattr(found, part, None)
    return {found: target.rpartition(".")[2]} if callable(found) else {}
