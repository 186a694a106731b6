"""Classes that training shows, and those that evaluation asks for.

Counted are targets of losses of classes, those that are compared with the class that an output is greatest for, and,
where the labels of a batch were the target of a loss, the labels in all batches of the loaders.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_items import ClassesAsked
from traindx.finding import Location
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.collectors.shared_items import divided_at
from traindx.watch.collectors.torch_calls import TorchCalls, argument, call_site, named_functions
from traindx.watch.reading.program import names_in, side_of
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch

MOST_CLASSES = 200
MOST_BATCHES = 4000  # of a loader
LEAST_ITEMS = 6  # of a batch, of which several classes are to be expected
ON_PURPOSE = re.compile(
    r"unseen|(?<![a-z])novel|zero_?shot|few_?shot|one_?shot|open_?set|open_?world|out_?of_?dist|(?<![a-z])ood(?![a-z])"
    r"|incremental|continual|lifelong|forgetting|anomal|prototyp|episod|meta_?learn|(new|base|known)_?classes",
    re.IGNORECASE,
)


@dataclass
class _Tally:
    counts: Counter[int] = field(default_factory=Counter)
    batches: int = 0
    large: int = 0
    mixed: int = 0

    def add(self, counts: Counter[int]) -> None:
        """One batch more."""
        self.counts.update(counts)
        self.batches += 1
        self.large += counts.total() >= LEAST_ITEMS
        self.mixed += counts.total() >= LEAST_ITEMS and len(counts) > 1


@dataclass
class _OfLoader:
    loader: Loader
    tally: _Tally = field(default_factory=_Tally)
    labels: Any = None  # of the batch that was read last, until the next is
    missed: int = 0
    whole_passes: int = 0
    targets: int = 0  # classes of the loss whose target the labels were


class ClassShares(Collector):
    """Counts whole numbers, one an item; a few microseconds a batch."""

    subject = "classes of training and evaluation"

    def __init__(self, watch: Watch, calls: TorchCalls, loaders: Loaders) -> None:
        super().__init__(watch)
        self.calls = calls
        self.loaders = loaders
        self._training: dict[int, _Tally] = {}  # by the number of classes of the loss
        self._asked: dict[tuple[int, str, CallSite | None], _Tally] = {}
        self._read: dict[int, _OfLoader] = {}
        self._chosen: Any = watch.weak_table()

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        functional = torch.nn.functional
        losses = {functional.cross_entropy: "cross_entropy", functional.nll_loss: "nll_loss"}
        self.calls.on(self, losses, self._loss)
        self.calls.on(self, named_functions(torch, ("argmax", "max")), self._choose)
        self.calls.on(self, named_functions(torch, ("eq",)), self._compare)
        self.loaders.on_read(self, self._batch)
        self.loaders.on_pass_end(self, self._ended)

    def _batch(self, loader: Loader, batch: Any) -> None:
        torch = self.watch.torch
        seen = self._read.setdefault(id(loader), _OfLoader(loader))
        if seen.whole_passes and loader.in_order:
            return  # the next pass brings the same
        if seen.tally.batches + seen.missed >= MOST_BATCHES:
            seen.missed += 1
            return
        tensors = [one for _, one in tensors_in(batch, torch)]
        labels = [one for one in tensors if one.dim() == 1 and one.dtype in (torch.int64, torch.int32, torch.uint8)]
        counts = self._counted(labels[0]) if len(labels) == 1 and len(tensors) > 1 else None
        seen.labels = labels[0] if counts is not None else None
        if counts is None:
            seen.missed += 1
        else:
            seen.tally.add(counts)

    def _ended(self, loader: Loader) -> None:
        seen = self._read.get(id(loader))
        if seen is not None:
            seen.labels = None
            seen.whole_passes += 1

    def _counted(self, labels: Any) -> Counter[int] | None:
        """How often each class occurs; None for what is no list of classes. Ignored items are below zero."""
        if not labels.numel() or self.watch.would_wait(labels) or int(labels.max()) >= MOST_CLASSES:
            return None
        known = labels.detach()[labels >= 0].long()
        return Counter({at: int(one) for at, one in enumerate(self.watch.torch.bincount(known).tolist()) if one})

    def _loss(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        torch = self.watch.torch
        output, target = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "target")
        if not isinstance(output, torch.Tensor) or not isinstance(target, torch.Tensor):
            return None
        if output.dim() != 2 or target.dim() != 1 or target.is_floating_point() or output.shape[1] > MOST_CLASSES:
            return None
        counts, classes, site = self._counted(target), int(output.shape[1]), call_site()
        if counts is None:
            return None
        if not self.watch.grad_enabled:
            self._asked.setdefault((classes, "loss", site), _Tally()).add(counts)
        elif output.requires_grad:
            self._training.setdefault(classes, _Tally()).add(counts)
            for seen in self._read.values():
                labels = seen.labels
                if labels is not None and labels.shape == target.shape and labels.device == target.device:
                    seen.targets = classes if bool((labels == target).all()) else seen.targets
        return None

    def _choose(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        torch = self.watch.torch
        output = argument(args, kwargs, 0, "input")
        if self.watch.grad_enabled or not isinstance(output, torch.Tensor) or output.dim() != 2:
            return None
        over = argument(args, kwargs, 1, "dim")
        if over not in (1, -1) or not output.is_floating_point() or not 2 <= output.shape[1] <= MOST_CLASSES:
            return None
        classes = int(output.shape[1])

        def done(out: Any) -> None:
            chosen = out if isinstance(out, torch.Tensor) else out[1]
            if chosen.numel() == output.shape[0]:
                self._chosen[chosen] = classes

        return done

    def _compare(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        torch, site = self.watch.torch, call_site()
        if self.watch.grad_enabled or len(args) < 2 or not all(isinstance(one, torch.Tensor) for one in args[:2]):
            return None
        for one, other in (args[:2], args[1::-1]):
            classes = self._chosen.get(one)
            if classes and other.shape == one.shape and not other.is_floating_point():
                counts = self._counted(other.flatten())
                if counts is not None:
                    self._asked.setdefault((classes, "accuracy", site), _Tally()).add(counts)
                break
        return None

    def records(self) -> Iterable[Record]:
        """One record a loader of evaluation, or a line of it, beside the training of a loss with as many classes."""
        for classes, looked_at in self._training.items():
            fed = [one for one in self._read.values() if one.targets == classes and one.loader.trains]
            whole = bool(fed) and all(one.whole_passes and not one.missed for one in fed)
            training = _Tally() if whole else looked_at
            for one in fed if whole else ():
                training.counts.update(one.tally.counts)
            complete = [one for one in self._read.values() if one.whole_passes and not one.missed]
            known = [one for one in complete if not one.loader.trains]
            if fed and known:
                for one in known:
                    place = _divided(one.loader.made, fed[0].loader.made)
                    yield self._record(classes, training, whole, one.tally, True, place, one.loader.made)
                continue
            asked = {key: tally for key, tally in self._asked.items() if key[0] == classes}
            kind = "loss" if any(key[1] == "loss" for key in asked) else "accuracy"
            for (_, how, site), tally in asked.items():
                if how == kind:
                    yield self._record(classes, training, whole, tally, False, _division(site), site)

    def _record(
        self,
        classes: int,
        training: _Tally,
        whole: bool,
        asked: _Tally,
        all_of_it: bool,
        place: Location | None,
        site: CallSite | None,
    ) -> Record:
        return ClassesAsked(
            classes=classes,
            training=tuple(sorted(training.counts.items())),
            training_whole=whole,
            training_batches=training.large,
            training_mixed=training.mixed,
            evaluation=tuple(sorted(asked.counts.items())),
            evaluation_whole=all_of_it,
            on_purpose=_on_purpose(),
            divided_at=place,
            where=self.watch.shown(site),
            step=self.watch.iteration,
        )


def _divided(one: CallSite | None, other: CallSite | None) -> Location | None:
    """The line that divides the data of two loaders."""
    place = divided_at(one, other) if one is not None and other is not None else None
    return place or _division(one)


def _on_purpose() -> str:
    """What the program calls a protocol in which classes are new on purpose; "" where it speaks of none."""
    for tree in own_sources().values():
        for node in walk(tree):
            named = (
                getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "arg", None)
                or getattr(node, "name", None) or (node.value if isinstance(node, ast.Constant) else None)
            )  # fmt: skip
            found = ON_PURPOSE.search(re.sub(r"[\s-]+", "_", named)) if isinstance(named, str) else None
            if found is not None:
                return found.group(0).lower()
    return ""


def _division(site: CallSite | None) -> Location | None:
    """The last statement before a line that names a part to train on and one that is held out, at once or in turn."""
    tree = parsed(site.file) if site is not None else None
    found: list[int] = []
    given: list[tuple[int, set[str], ast.expr]] = []
    for node in walk(tree) if tree is not None else ():
        if isinstance(node, ast.Assign):
            targets = {one.id for target in node.targets for one in walk(target) if isinstance(one, ast.Name)}
            given.append((node.lineno, {side_of(one) for one in targets} - {""}, node.value))
    for number, (line, sides, value) in enumerate(sorted(given, key=lambda one: one[0])):
        if site is None or line >= site.line:
            break
        before = given[number - 1] if number else (0, set(), value)
        if len(sides) == 2 or (before[1] and len(sides | before[1]) == 2 and names_in(before[2]) & names_in(value)):
            found.append(line)
    return Location(file=shown_path(site.file), line=found[-1], symbol=site.symbol) if found and site else None
