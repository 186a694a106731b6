"""Calls of loss functions and hand-written comparisons: what is compared with what, in which range and shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_loss import (
    ActivationChain,
    ConstantTerm,
    LossCall,
    SingleClassSoftmax,
    TargetSeen,
)
from traindx.watch.collectors.loss_terms import LossTerms
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.provenance import PROBABILITIES, Provenance, Tag
from traindx.watch.collectors.provenance_ranges import RANGES
from traindx.watch.collectors.torch_calls import TorchCalls, argument, call_site, named_functions
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.source_text import assigned_name
from traindx.watch.runtime.stats import Range, sample, value_range
from traindx.watch.runtime.watch import Collector, Watch
from traindx.watch.runtime.wiring import Signal

LOSSES = [
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "kl_div",
    "gaussian_nll_loss",
    "poisson_nll_loss",
    "cosine_embedding_loss",
    "margin_ranking_loss",
    "soft_margin_loss",
    "multilabel_soft_margin_loss",
    "multi_margin_loss",
    "ctc_loss",
    "triplet_margin_loss",
    "hinge_embedding_loss",
]
COMPARE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy")
PRODUCTS = ("matmul", "mm", "bmm", "mul", "einsum", "addmm", "baddbmm", "__rmatmul__")
ARITHMETIC = ("sub", "mul", "rsub", "subtract")


@dataclass
class _Loss:
    """Calls of one loss function at one line in one phase."""

    first: dict[str, Any]
    calls: int = 0
    values: list[float] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    outside: list[float] = field(default_factory=list)
    target_values: dict[float, float] = field(default_factory=dict)
    low: float = math.inf
    high: float = -math.inf


@dataclass
class _Constant:
    how: str
    cut: CallSite | None
    values: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)


class LossCalls(Collector):
    """Loss functions of torch, arithmetic between predictions and targets, chains of activations, constant addends."""

    subject = "loss functions"

    def __init__(
        self, watch: Watch, calls: TorchCalls, networks: Networks, provenance: Provenance, terms: LossTerms
    ) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.provenance = provenance
        self.terms = terms
        self.bursts = Bursts(dense=4, ratio=1.6)
        self.on_target: Signal[[Tag, Any]] = Signal(watch)
        self._losses: dict[tuple[Any, ...], _Loss] = {}
        self._targets: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._chains: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._single: dict[CallSite, dict[str, Any]] = {}
        self._constants: dict[tuple[Any, ...], _Constant] = {}
        self._scalar_adds: set[Any] = set()
        self._pending: dict[int, tuple[tuple[Any, ...], CallSite | None, float, float]] = {}

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        functional = {getattr(torch.nn.functional, name, None): name for name in LOSSES}
        self.calls.on(self, functional, self._loss)
        self.calls.on(self, named_functions(torch, ARITHMETIC), self._arithmetic)
        self.calls.on(self, named_functions(torch, PRODUCTS), self._product)
        self._scalar_adds = set(named_functions(torch, ("add", "sub", "rsub", "radd", "iadd", "isub")))
        self.calls.on_scalars(self, self._scalar)
        self.provenance.on_activation(self, self._activation)
        self.terms.on_constants(self, self._confirmed)

    # -- loss functions ------------------------------------------------------------------------------------------

    def _loss(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        prediction, target = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "target")
        tensor = self.watch.torch.Tensor
        if not isinstance(prediction, tensor) or not isinstance(target, tensor):
            return None
        site, made = call_site(), self.networks.library_maker()
        phase = "training" if self.watch.grad_enabled else "evaluation"
        key = (name, site, phase)
        tag = self.provenance.tag(prediction) or Tag()
        if tag.clamp is not None:
            self.on_target.tell(tag, target)
        if not self.bursts.wanted(key):
            return None
        facts = self._facts(name, args, kwargs, prediction, target, tag, made)
        entry = self._losses.setdefault(key, _Loss(first=facts))
        entry.calls += 1
        entry.last = facts
        entry.outside.append(facts["outside"])
        for value, share in zip(facts["target_values"], facts["target_share"], strict=True):
            entry.target_values[value] = entry.target_values.get(value, 0.0) + share
        entry.low, entry.high = min(entry.low, facts["target_low"]), max(entry.high, facts["target_high"])

        def done(out: Any) -> None:
            if isinstance(out, tensor) and out.numel():
                entry.values.append(float(out.detach().float().mean()))

        return done

    def _facts(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        prediction: Any,
        target: Any,
        tag: Tag,
        made: CallSite | None,
    ) -> dict[str, Any]:
        seen, wanted = value_range(prediction), value_range(target)
        bounds = RANGES.get(tag.activation)
        classes = 0
        if name in ("cross_entropy", "nll_loss"):
            classes = int(prediction.shape[1] if prediction.dim() > 1 else prediction.shape[0])
        position = {"cross_entropy": 6, "nll_loss": 6, "binary_cross_entropy": 5, "binary_cross_entropy_with_logits": 5}
        reduction = argument(args, kwargs, position.get(name, 4), "reduction", "mean")
        weight = argument(args, kwargs, 2, "weight") if name in position else None
        activation = tag.site if tag.made is None else tag.made
        return {
            "made": made,
            "reduction": str(reduction),
            "prediction_shape": tuple(prediction.shape),
            "target_shape": tuple(target.shape),
            "prediction_from": tag.activation,
            "activation": activation,
            "applied": tag.site,
            "prediction_low": seen.least,
            "prediction_high": seen.greatest,
            "target_low": wanted.least,
            "target_high": wanted.greatest,
            "target_values": wanted.values,
            "target_share": wanted.shares,
            "outside": share_outside(target, bounds) if bounds and name in COMPARE else 0.0,
            "lost": variance_lost(target, bounds) if bounds and name in COMPARE else 0.0,
            "classes": classes,
            "normalised_over": tag.over if tag.dims == prediction.dim() else -1,
            "weighted": weight is not None,
        }

    # -- comparisons written by hand -----------------------------------------------------------------------------

    def _arithmetic(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        if self.networks.depth or len(args) < 2:
            return None
        first, second = args[0], args[1]
        tensor = self.watch.torch.Tensor
        if not isinstance(first, tensor) or not isinstance(second, tensor) or first.numel() < 2 or second.numel() < 2:
            return None
        if first.requires_grad == second.requires_grad:
            return None
        prediction, target = (first, second) if first.requires_grad else (second, first)
        tag = self.provenance.tag(prediction) or Tag()
        if tag.clamp is not None and name != "mul":  # what it is multiplied with is a weight as often as a target
            self.on_target.tell(tag, target)
        site = call_site()
        key = (name, site, tag.activation)
        if not self.bursts.wanted(key):
            return None
        seen: Range = value_range(target)
        other = self.provenance.tag(target) or Tag()

        def done(out: Any) -> None:
            entry = self._targets.setdefault(key, {"calls": 0, "values": {}, "low": math.inf, "high": -math.inf})
            entry["calls"] += 1
            entry.update(
                shape=tuple(target.shape),
                prediction_shape=tuple(prediction.shape),
                result_shape=tuple(out.shape),
                explicit=tag.axis or other.axis,
                low=min(entry["low"], seen.least),
                high=max(entry["high"], seen.greatest),
            )
            for value, share in zip(seen.values, seen.shares, strict=True):
                entry["values"][value] = entry["values"].get(value, 0.0) + share
            entry["few"] = bool(seen.values) and entry.get("few", True)

        return done

    # -- activations ---------------------------------------------------------------------------------------------

    def _activation(
        self,
        name: str,
        tensor: Any,
        before: Tag | None,
        site: CallSite | None,
        made: CallSite | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Callable[[Any], None] | None:
        place = made or site
        phase = "training" if self.watch.grad_enabled else "evaluation"
        if name in ("softmax", "log_softmax") and place is not None:
            axis = argument(args, kwargs, 1, "dim")
            if isinstance(axis, int):
                self._softmax(place, tensor, axis)
        if before is None or name == "relu":
            return None
        known = before.activation
        if not known and name in PROBABILITIES and before.averaged and is_share(tensor):
            known = before.averaged  # the average of probabilities is a probability
        if known not in ("sigmoid", "softmax", "log_softmax", "tanh"):
            return None
        first, key = before.made or before.site, (known, name, place, phase)

        def done(out: Any) -> None:
            entry = self._chains.setdefault(key, {"calls": 0, "low": math.inf, "high": -math.inf, "first": first})
            entry["calls"] += 1
            seen = sample(out, 1024)
            entry["low"] = min(entry["low"], float(seen.min()))
            entry["high"] = max(entry["high"], float(seen.max()))

        return done

    def _softmax(self, place: CallSite, tensor: Any, axis: int) -> None:
        """Over an axis of length one; not one that is longer in other calls (bags, sequences that grow)."""
        single = tensor.shape[axis] == 1
        entry = self._single.get(place)
        if entry is None:
            entry = self._single[place] = {"calls": 0, "always": True, "weights": False, "one_key": False}
        entry["calls"] += single
        entry["always"] = entry["always"] and single
        if single:
            entry["shape"], entry["axis"] = tuple(tensor.shape), axis % tensor.dim()

    def _product(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A softmax that is multiplied with something else is a weighting, as attention has it; a number is none."""
        tensors = [one for one in args[:3] if isinstance(one, self.watch.torch.Tensor)]
        if name not in ("matmul", "mm", "bmm", "einsum") and sum(one.dim() > 0 for one in tensors) < 2:
            return
        for index, value in enumerate(args[:3]):
            tag = self.provenance.tag(value) if isinstance(value, self.watch.torch.Tensor) else None
            place = (tag.made or tag.site) if tag is not None and tag.activation == "softmax" else None
            entry = self._single.get(place) if place is not None else None
            if entry is not None and entry["always"]:
                first = index == 0 and name in ("matmul", "mm", "bmm")
                entry["weights"] = True
                entry["one_key"] = entry["one_key"] or (first and value.shape[-1] == 1)

    # -- constants in sums ---------------------------------------------------------------------------------------

    def _scalar(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if func not in self._scalar_adds or len(args) < 2:
            return
        tensor = self.watch.torch.Tensor
        for one, other in ((args[0], args[1]), (args[1], args[0])):
            if not isinstance(one, tensor) or not one.requires_grad:
                continue
            if isinstance(other, float):
                how, value, cut = "number", other, self.provenance.numbers.get(other)
            elif isinstance(other, tensor) and not other.requires_grad and other.numel() == 1:
                tag = self.provenance.tag(other)
                how, value, cut = "tensor", float(other), tag.cut if tag is not None else None
            else:
                continue
            node = compat.node_of(out)
            if node is not None:
                key = (call_site(), how, getattr(func, "__name__", ""))
                self._pending[compat.number(node)] = (key, cut, value, float(out.detach()))

    def _confirmed(self, sequences: list[int]) -> None:
        """These sums lie on the way from a loss to its terms, so what they add is a term."""
        for sequence in sequences:
            pending = self._pending.pop(sequence, None)
            if pending is not None:
                key, cut, value, total = pending
                entry = self._constants.setdefault(key, _Constant(key[1], cut))
                entry.cut = entry.cut or cut
                entry.values.append(value)
                entry.totals.append(total)

    def begin(self) -> None:
        """Sequence numbers of the last watched iteration mean nothing any more."""
        self._pending.clear()

    # -- summaries -----------------------------------------------------------------------------------------------

    def records(self) -> Iterable[Record]:
        """Everything that was compared."""
        shown = self.watch.shown
        for (name, site, phase), loss in self._losses.items():
            facts = {**loss.last, "target_low": loss.low, "target_high": loss.high}
            few = bool(loss.last["target_values"]) and len(loss.target_values) <= 16
            total = sum(loss.target_values.values()) or 1.0
            facts["target_values"] = tuple(sorted(loss.target_values)) if few else ()
            facts["target_share"] = tuple(loss.target_values[v] / total for v in facts["target_values"])
            facts["outside"] = sum(loss.outside) / len(loss.outside)
            made, activation, applied = facts.pop("made"), facts.pop("activation"), facts.pop("applied")
            yield LossCall(
                function=name,
                where=shown(site, made),
                made=made.location() if made is not None else None,
                activation=activation.location() if activation is not None else None,
                applied=applied.location() if applied is not None else None,
                phase=phase,
                calls=loss.calls,
                first_value=loss.values[0] if loss.values else 0.0,
                values=tuple(loss.values[:64]),
                step=self.watch.iteration,
                **facts,
            )
        for (name, site, activation_name), entry in self._targets.items():
            values = tuple(sorted(entry["values"])) if entry["few"] and len(entry["values"]) <= 16 else ()
            total = sum(entry["values"].values()) or 1.0
            yield TargetSeen(
                function=name,
                where=shown(site),
                prediction_from=activation_name,
                shape=entry["shape"],
                prediction_shape=entry["prediction_shape"],
                result_shape=entry["result_shape"],
                low=entry["low"],
                high=entry["high"],
                values=values,
                share=tuple(entry["values"][value] / total for value in values),
                calls=entry["calls"],
                explicit=entry["explicit"],
                step=self.watch.iteration,
            )
        yield from self._activation_records()
        for (site, _, _), constant in self._constants.items():
            if len(set(constant.values)) > 1:
                yield ConstantTerm(
                    where=shown(site),
                    how=constant.how,
                    cut=constant.cut.location() if constant.cut is not None else None,
                    values=tuple(constant.values[:64]),
                    totals=tuple(constant.totals[:64]),
                    name=assigned_name(site) if site is not None else "",
                    step=self.watch.iteration,
                )

    def _activation_records(self) -> Iterable[Record]:
        shown = self.watch.shown
        for (first, second, place, phase), entry in self._chains.items():
            yield ActivationChain(
                first=first,
                second=second,
                where=shown(place),
                first_where=shown(entry["first"]),
                phase=phase,
                low=entry["low"],
                high=entry["high"],
                calls=entry["calls"],
                step=self.watch.iteration,
            )
        for place, entry in self._single.items():
            if not entry["always"] or entry["one_key"]:  # attention to the only key there is gives its value
                continue
            yield SingleClassSoftmax(
                where=shown(place),
                shape=entry["shape"],
                axis=entry["axis"],
                weights=entry["weights"],
                calls=entry["calls"],
                step=self.watch.iteration,
            )


def is_share(tensor: Any) -> bool:
    """Nothing below 0 or above 1, round-off allowed."""
    values = sample(tensor)
    return bool(((values >= -1e-5) & (values <= 1 + 1e-5)).all())


def share_outside(tensor: Any, bounds: tuple[float, float]) -> float:
    """Share of a tensor's values outside a closed range, a millionth of slack allowed."""
    values = sample(tensor)
    return float(((values < bounds[0] - 1e-6) | (values > bounds[1] + 1e-6)).float().mean())


def variance_lost(tensor: Any, bounds: tuple[float, float]) -> float:
    """Mean square distance of a tensor's values to a closed range, over their variance."""
    import numpy as np

    values = sample(tensor).numpy()  # not in torch, whose ``clamp`` may be the script's own by now
    spread = float(values.var()) if values.size else 0.0
    return float(np.square(values - values.clip(*bounds)).mean()) / spread if spread > 0 else 0.0
