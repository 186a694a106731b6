"""Checkpoints: what was read, what of it arrived in a network, and what was left behind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_state import CheckpointRead, WeightsLoaded
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.collectors.parameters import Parameters
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.stats import PROBED, thinned
from traindx.watch.runtime.structure import (
    entry,
    items,
    named_buffers,
    named_modules,
    named_parameters,
    own_buffers,
    own_parameters,
)
from traindx.watch.runtime.watch import Collector, Watch

MOST_COMPARISONS = 8  # of files with networks that are called, in a script that does not train
WEIGHTS = ("weight", "bias", "running_mean", "running_var", "gamma", "beta", "pos_embed", "cls_token")
COUNTERS = ("epoch", "step", "global_step", "iteration", "iter", "start_epoch")


@dataclass
class _File:
    """A file that was read, by small samples of its tensors."""

    name: str
    site: CallSite | None
    parts: tuple[str, ...]
    prints: dict[tuple[Any, ...], str]
    optimizer_state: bool
    scheduler_state: bool
    saved_lr: float
    epoch: int
    at_step: int
    optimizer_restored: bool = False
    scheduler_restored: bool = False
    resumed_lr: float = -1.0
    arrived: int = -1
    trained: int = -1
    compared: str = ""


@dataclass
class _Load:
    fields: dict[str, Any]
    network: Any = None
    prints: set[tuple[Any, ...]] = field(default_factory=set)
    stays: dict[int, tuple[str, Any]] = field(default_factory=dict)  # weights by number: their names and loaded values


class Checkpoints(Collector):
    """Wraps ``torch.load`` and the ``load_state_dict`` of modules, optimisers and schedules."""

    subject = "checkpoints"

    def __init__(
        self, watch: Watch, networks: Networks, optimisers: Optimisers, parameters: Parameters, backwards: Backwards
    ) -> None:
        super().__init__(watch)
        self.networks = networks
        self.optimisers = optimisers
        self.parameters = parameters
        self.backwards = backwards
        self.saves = 0
        self._files: list[_File] = []
        self._loads: list[_Load] = []
        self._depth = 0
        self._bursts = Bursts(dense=64, ratio=1.3)  # a copy may be loaded in every iteration
        self._called: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._comparisons = 0

    def install(self) -> None:
        """Patch."""
        torch, watch = self.watch.torch, self.watch
        watch.patches.wrap(torch, "load", self._make_load)
        watch.patches.wrap(torch, "save", self._make_save)
        watch.patches.wrap(torch.nn.Module, "load_state_dict", self._make_module_load)
        watch.patches.wrap(torch.optim.Optimizer, "load_state_dict", self._make_restore("optimizer_restored"))
        self.backwards.on_backward(self, before=self._before_backward)
        self.networks.on_call(self, self._after_call)
        self.optimisers.on_step(self, self._step)
        scheduler = torch.optim.lr_scheduler.LRScheduler
        watch.patches.wrap(scheduler, "load_state_dict", self._make_restore("scheduler_restored"))

    @property
    def used(self) -> bool:
        """The script reads or writes checkpoints."""
        return bool(self._files or self.saves)

    def _make_save(self, original: Any) -> Any:
        def save(*args: Any, **kwargs: Any) -> Any:
            self.saves += 1
            return original(*args, **kwargs)

        return save

    def _make_load(self, original: Any) -> Any:
        watch = self.watch

        def load(f: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(f, *args, **kwargs)
            if watch.here_and_now:
                with watch.ours(self):
                    self._read(f, result)
            return result

        return load

    def _read(self, f: Any, content: Any) -> None:
        torch = self.watch.torch
        name = os.path.basename(str(f)) if isinstance(f, str | os.PathLike) else "a stream"
        prints: dict[tuple[Any, ...], str] = {}
        optimizer_state = scheduler_state = False
        saved_lr, epoch = -1.0, -1
        top = content if isinstance(content, dict) else {}
        for key, value in items(top):
            if isinstance(value, dict) and {"param_groups", "state"} <= dict(items(value)).keys():
                optimizer_state = True
                groups = entry(value, "param_groups")
                saved_lr = float(groups[0].get("lr", -1.0)) if groups else -1.0
            elif isinstance(value, dict) and is_schedule(dict(items(value))):
                scheduler_state = True
            elif isinstance(value, int) and str(key).lower() in COUNTERS:
                epoch = value
        networks = {k: v for k, v in items(top) if not (isinstance(v, dict) and dict.__contains__(v, "param_groups"))}
        for path, tensor in state_tensors(networks, torch):
            if tensor.is_floating_point() and tensor.numel() > 1:
                prints[fingerprint(tensor)] = path
        if sum(path.endswith(WEIGHTS) for path in prints.values()) < len(prints) / 2:
            prints = {}  # data, not weights
        if prints or optimizer_state:
            parts = tuple(str(key) for key, _ in items(top)[:16])
            self._files.append(
                _File(name, here(), parts, prints, optimizer_state, scheduler_state, saved_lr, epoch, self.watch.steps)
            )

    def _make_module_load(self, original: Any) -> Any:
        watch = self.watch

        def load_state_dict(module: Any, state_dict: Any, strict: bool = True, *args: Any, **kwargs: Any) -> Any:
            if self._depth or not watch.here_and_now or not self._bursts.wanted(here()):
                return original(module, state_dict, strict, *args, **kwargs)
            before: dict[str, Any] = {}
            with watch.ours(self):
                before = {name: thinned(value, PROBED).clone() for name, value in tensors_of(module)}
            self._depth += 1
            try:
                result = original(module, state_dict, strict, *args, **kwargs)
            finally:
                self._depth -= 1
            with watch.ours(self):
                self._loaded(module, state_dict, strict, before)
            watch.look_before_training()
            return result

        return load_state_dict

    def _loaded(self, module: Any, state_dict: Any, strict: bool, before: dict[str, Any]) -> None:
        torch = self.watch.torch
        own = dict(tensors_of(module))
        offered = {k: v for k, v in pairs_of(state_dict) if isinstance(v, torch.Tensor)}
        matched = [k for k, v in offered.items() if k in own and v.shape == own[k].shape]
        missing = [k for k in own if k not in offered]
        unexpected = [k for k in offered if k not in own]
        names = set(matched)
        for name, parameter in named_parameters(module):
            if name in names:
                self.parameters.loaded[parameter] = True
        load = _Load(
            {
                "network": type(module).__name__,
                "where": here(),
                "tensors": len(own),
                "offered": len(offered),
                "matched": len(matched),
                "missing": len(missing),
                "unexpected": len(unexpected),
                "strict": bool(strict),
                "iteration": self.watch.iteration,
                "examples_missing": tuple(missing[:4]),
                "examples_unexpected": tuple(unexpected[:4]),
            },
            self.watch.torch.utils.weak.WeakIdRef(module),
        )
        for earlier in self._loads:  # what is loaded once more is another load's
            for _, parameter in named_parameters(module):
                earlier.stays.pop(id(parameter), None)
        held = self.optimisers.held()
        load.fields["as_drawn"] = sum(
            parameter.numel() > 1 and parameter not in self.parameters.loaded and id(parameter) not in held
            for name, parameter in named_parameters(module)
            if name not in names
        )
        load.fields["made_here"] = module in self.networks.made and module not in self.networks.copied
        self._loads.append(load)
        after = {name: thinned(value, PROBED).clone() for name, value in own.items() if name in before}
        load.stays = {
            id(parameter): (name, after[name])
            for name, parameter in named_parameters(module)
            if name in names and name in after and parameter.numel() > 1 and parameter.is_floating_point()
        }
        prints = [Print.of(value) for value in offered.values() if value.is_floating_point() and value.numel() > 1]
        files = list(self._files)

        def compare() -> None:
            load.fields["changed"] = sum(not torch.equal(before[name].cpu(), after[name].cpu()) for name in after)
            floats = {one.read() for one in prints}
            source = max(files, key=lambda file: len(floats & file.prints.keys()), default=None)
            if source is not None and not floats & source.prints.keys() and (floats or not source.prints):
                source = None
            load.fields["file"] = source.name if source is not None else ""
            load.fields["in_file"] = len(source.prints) if source is not None else 0

        if any(self.watch.would_wait(value) for value in own.values()):
            self.watch.read_later(self, compare)
        else:
            compare()

    def _make_restore(self, which: str) -> Any:
        def make(original: Any) -> Any:
            def load_state_dict(*args: Any, **kwargs: Any) -> Any:
                for file in self._files:
                    setattr(file, which, True)
                return original(*args, **kwargs)

            return load_state_dict

        return make

    def _before_backward(self, call: Backward) -> None:
        """Right before the training goes on after a file was read: how much of it is in the networks?"""
        for load in self._loads:
            if load.stays:
                self._still_there(load)
        waiting = [file for file in self._files if file.compared != "training"]
        if waiting:
            self._compare(waiting, "training")

    def _still_there(self, load: _Load) -> None:
        """Before the first backward pass after a load: which of the weights have other values by now?"""
        module = load.network()
        there = dict(named_parameters(module)) if module is not None else {}
        pairs = [
            (there[name], values) for number, (name, values) in load.stays.items() if id(there.get(name)) == number
        ]
        load.stays = {}
        now = [(thinned(weight, PROBED).clone(), values) for weight, values in pairs]

        def compare() -> None:
            load.fields["weights"] = len(now)
            load.fields["undone"] = sum(not alike_by_value(one, other) for one, other in now)

        if any(self.watch.would_wait(weight) for weight, _ in pairs):
            self.watch.read_later(self, compare)
        else:
            compare()

    def _after_call(self, call: Call) -> None:
        """Without a training to come, weights have arrived if they ever are in a network when one is called."""
        new = call.network not in self._called
        self._called[call.network] = True
        waiting = [file for file in self._files if not file.compared or (new and file.compared == "a call")]
        if waiting and not self.watch.backwards and self._comparisons < MOST_COMPARISONS:
            self._comparisons += 1
            self._compare(waiting, "a call")

    def _compare(self, files: list[_File], when: str) -> None:
        for file in files:
            file.compared = when
        held = self.optimisers.held()
        tensors, learning = [], []
        for module in list(self.networks.made):
            own = [tensor for _, tensor in own_parameters(module)]
            learns = not held or any(id(tensor) in held for tensor in own)
            for tensor in (*own, *(tensor for _, tensor in own_buffers(module))):
                if tensor.numel() > 1 and tensor.is_floating_point():
                    tensors.append(tensor)
                    learning.append(learns)
        prints = [Print.of(tensor) for tensor in tensors]
        of_learning = [one for one, learns in zip(prints, learning, strict=True) if learns]
        if any(self.watch.would_wait(tensor) for tensor in tensors):
            self.watch.read_later(self, lambda: self._arrived(files, when, prints, of_learning))
        else:
            self._arrived(files, when, prints, of_learning)

    def _arrived(self, files: list[_File], when: str, prints: list[Print], of_learning: list[Print]) -> None:
        """How many tensors of each file are among these."""
        present, learning = _Present.of(prints), _Present.of(of_learning)
        for file in files:
            arrived = present.count(file.prints)
            file.arrived = arrived if when == "training" else max(file.arrived, arrived)
            file.trained = learning.count(file.prints) if when == "training" else file.trained

    def _step(self, rate: float) -> None:
        """The first step after a file was read: its learning rate."""
        for file in self._files:
            if file.resumed_lr < 0:
                file.resumed_lr = rate

    def records(self) -> Iterable[Record]:
        """Loads and files."""
        for load in self._loads:
            if "changed" not in load.fields:  # its values are still to be read
                continue
            module = load.network()
            trained = module is not None and any(child in self.networks.called for _, child in named_modules(module))
            where = load.fields["where"]
            fields = {**load.fields, "where": where.location() if where is not None else None, "trained": trained}
            yield WeightsLoaded(**fields, step=self.watch.iteration)
        for file in self._files:
            yield CheckpointRead(
                file=file.name,
                where=file.site.location() if file.site is not None else None,
                parts=file.parts,
                tensors=len(file.prints),
                arrived=file.arrived,
                trained=file.trained,
                compared=file.compared if file.arrived >= 0 else "",
                optimizer_state=file.optimizer_state,
                optimizer_restored=file.optimizer_restored,
                scheduler_state=file.scheduler_state,
                scheduler_restored=file.scheduler_restored,
                saved_lr=file.saved_lr,
                resumed_lr=file.resumed_lr,
                epoch=file.epoch,
                step=file.at_step,
            )


@dataclass
class _Present:
    """Fingerprints of what is in networks: exactly, and by shape those of tensors with fewer bits than float32."""

    exact: set[tuple[Any, ...]] = field(default_factory=set)
    coarse: dict[Any, list[tuple[float, ...]]] = field(default_factory=dict)

    @classmethod
    def of(cls, prints: Iterable[Print]) -> _Present:
        """From the fingerprints of all tensors of all living modules."""
        found = cls()
        for one in prints:
            shape, values = one.read()
            found.exact.add((shape, values))
            if one.rounded:
                found.coarse.setdefault(shape, []).append(values)
        return found

    def count(self, prints: Iterable[tuple[Any, ...]]) -> int:
        """How many of the fingerprints of a file are among these."""
        return sum(
            one in self.exact or any(alike(one[1], other) for other in self.coarse.get(one[0], ())) for one in prints
        )


@dataclass
class Print:
    """A fingerprint that has not been read from its device yet.

    Attributes:
        shape: Of the tensor.
        values: A few of its values, where they lie.
        rounded: It has fewer bits than float32 has: a file's values were rounded on their way.
    """

    shape: tuple[int, ...]
    values: Any
    rounded: bool

    @classmethod
    def of(cls, tensor: Any) -> Print:
        """For which nothing has to wait."""
        return cls(tuple(tensor.shape), thinned(tensor, 24).clone(), tensor.element_size() < 4)

    def read(self) -> tuple[Any, ...]:
        """Equal for equal tensors, different for others for all that matters."""
        return self.shape, tuple(self.values.tolist())


def alike(values: tuple[float, ...], rounded: tuple[float, ...]) -> bool:
    """True if the second values may be the first ones in half precision or bfloat16 (8 bits: 0.4 %)."""
    return all(abs(one - other) <= 0.01 * abs(one) + 1e-6 for one, other in zip(values, rounded, strict=True))


def is_schedule(state: dict[Any, Any]) -> bool:
    """True for the state of a learning-rate schedule."""
    return "last_epoch" in state and ("_last_lr" in state or "base_lrs" in state)


def pairs_of(state: Any) -> list[tuple[Any, Any]]:
    """What a state holds, if it is a dictionary of any kind; another mapping is not asked."""
    return items(state) if isinstance(state, dict) else []


def tensors_of(module: Any) -> Iterator[tuple[str, Any]]:
    """Everything that ``state_dict`` holds, without making one (which may have hooks)."""
    yield from named_parameters(module)
    yield from named_buffers(module, persistent=True)


def state_tensors(content: Any, torch: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Tensors in nested mappings and modules, by path."""
    if isinstance(content, torch.Tensor):
        yield prefix, content
    elif isinstance(content, torch.nn.Module):
        yield from tensors_of(content)
    elif isinstance(content, dict) and depth < 4:
        for key, value in items(content):
            yield from state_tensors(value, torch, f"{prefix}.{key}" if prefix else str(key), depth + 1)


def fingerprint(tensor: Any) -> tuple[Any, ...]:
    """Shape and a few values: equal for equal tensors, different for others for all that matters."""
    return Print.of(tensor).read()


def alike_by_value(one: Any, other: Any) -> bool:
    """True if weights are the same but for a coarser number format."""
    a, b = one.detach().double().cpu(), other.detach().double().cpu()
    return bool(a.shape == b.shape and (a - b).abs().max() <= 0.02 * b.abs().max())
