"""A `Case`: what traindx may touch of somebody's training, every part of it optional but the model and the batches.

What is missing is listed in the diagnosis as *not examined*, never as passed. Cases are immutable: a fault or a
treatment makes a changed copy with :meth:`Case.replace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from traindx.case_parts import (
    PARTS,
    Authoring,
    DataPath,
    DataRange,
    Deployment,
    FullRun,
    Guidance,
    Labels,
    Normaliser,
    Part,
    Projection,
    PrototypeLearning,
    Regions,
    TrainingState,
)
from traindx.core.calls import CallReader
from traindx.errors import CaseError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Batch = Any
    Batches = Iterable[Any] | Callable[[], Iterable[Any]]
    Loss = Callable[[nn.Module, Any], Tensor | Mapping[str, Tensor]]
    Predict = Callable[[nn.Module, Any], Tensor]
    OptimizerBuilder = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

PredictionType = Literal["epsilon", "v", "sample"]
P = TypeVar("P")
_AUTHORING = ("treatments", "contexts", "extras")

# runtime patches in force, so that a case that is opened inside itself is patched once
_ENTERED: ContextVar[tuple[Callable[[], Any], ...]] = ContextVar("_ENTERED", default=())


@dataclass(frozen=True)
class Metric:
    """A figure of merit and how to read it.

    Attributes:
        function: ``(prediction, target) -> scalar``; both tensors are of shape ``(B, ...)``.
        unit: Its unit, shown beside every figure.
        higher_is_better: Direction.
        negligible: A difference smaller than this is of no importance (used to rule out, in units of the metric).
        raw: The same figure for ``(decoded prediction, raw target)`` in the normaliser's raw units. With it a treatment
            that changes the normalisation is scored by a scoring metric that does not move; see :meth:`Case.score`.
        best: The best value that it can have, for example 1 for Dice. Where it is reached with and without a treatment,
            nothing could show, and nobody is ruled out.
    """

    function: Callable[[Tensor, Tensor], Any]
    unit: str = ""
    higher_is_better: bool = True
    negligible: float = 0.0
    raw: Callable[[Tensor, Tensor], Any] | None = None
    best: float | None = None

    def __call__(self, prediction: Tensor, target: Tensor) -> float:
        """The figure as a Python float."""
        return float(self.function(prediction, target))


@dataclass(frozen=True)
class Diffusion:
    r"""The diffusion parts of a case, with :math:`x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon`.

    Attributes:
        alphas_cumprod: :math:`\bar\alpha_t` used in training, shape ``(T,)``, index 0 = least noise.
        prediction: What the network is trained to output: ``"epsilon"``, ``"sample"`` (x0) or ``"v"``,
            :math:`v = \sqrt{\bar\alpha_t}\,\epsilon - \sqrt{1-\bar\alpha_t}\,x_0`.
        denoise: ``(model, x_t, t, batch) -> output``, the network called exactly as in training; ``t`` is the
            integer timestep of shape ``(B,)`` and any scaling of time happens inside.
        sample: ``(model, batch) -> x0``, the sampling loop used in deployment, unchanged. It must call
            ``network(model)`` as a module, because the checks listen to and stand in for that call.
        network: ``model -> module`` that is called with ``(x_t, time, ...)``; the model itself by default.
        read_call: ``(args, kwargs) -> (x_t, time)``: which arguments of that call are the noisy image and the time;
            by default the first tensor of the target's shape and the first remaining tensor or number.
        betas: :math:`\beta_t` of shape ``(T,)``, where the code keeps them separately.
        sampling_alphas_cumprod: :math:`\bar\alpha_t` used in sampling, if the code keeps another table for it.
        starts_from_noise: True if sampling starts from pure noise (then the terminal SNR should be 0).
        clip: Range to which the sampler clips the predicted x0, if any.
    """

    alphas_cumprod: Tensor
    prediction: PredictionType
    denoise: Callable[[nn.Module, Tensor, Tensor, Any], Tensor]
    sample: Callable[[nn.Module, Any], Tensor]
    network: Callable[[nn.Module], nn.Module] = lambda model: model
    read_call: Callable[[tuple[Any, ...], dict[str, Any]], tuple[Tensor, Any]] | None = None
    betas: Tensor | None = None
    sampling_alphas_cumprod: Tensor | None = None
    starts_from_noise: bool = True
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Believe ``read_call`` only after it was seen to read its arguments."""
        if self.read_call is not None and not isinstance(self.read_call, CallReader):
            object.__setattr__(self, "read_call", CallReader(self.read_call))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A training as traindx sees it.

    Attributes:
        model: ``() -> nn.Module`` with fresh weights each call (drawn from the global torch seed).
        train: Batches, as an iterable that can be iterated again, or a function that returns one. A batch is anything
            that ``loss`` and ``predict`` accept; mappings of tensors are best understood.
        val: Batches for evaluation; ``train`` is used, and the diagnosis says so, where it is missing.
        loss: ``(model, batch) -> scalar`` or ``{term: scalar}``, the weighted terms whose sum is optimised.
        predict: ``(model, batch) -> prediction``, the path used in deployment. Defaults to ``diffusion.sample``.
        target: ``batch -> tensor`` that the prediction is compared with.
        metrics: ``{name: Metric or function}``; the first one judges trials.
        conditions: Keys of the batch that the prediction should depend on (views, modalities).
        optimizer: ``parameters -> Optimizer``; AdamW with learning rate 1e-3 where it is missing.
        steps: Optimiser steps that a trial trains for.
        diffusion: Diffusion parts.
        parts: What else is known of the training, one of each kind (:mod:`traindx.case_parts`); None is left out.
        name: Shown in the report.
        device: Where the model runs.
    """

    model: Callable[[], nn.Module]
    train: Batches
    val: Batches | None = None
    loss: Loss | None = None
    predict: Predict | None = None
    target: Callable[[Any], Tensor] | None = None
    metrics: Mapping[str, Metric | Callable[[Tensor, Tensor], Any]] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()
    optimizer: OptimizerBuilder | None = None
    steps: int = 200
    diffusion: Diffusion | None = None
    parts: tuple[Part | None, ...] = ()
    name: str = "case"
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Leave out parts that are None, and refuse what is no part, or two of a kind.

        Raises:
            CaseError: A part is of no known kind, or there are two of one.
        """
        present = tuple(part for part in self.parts if part is not None)
        kinds = [type(part) for part in present]
        for kind in kinds:
            if kind not in PARTS.values():
                raise CaseError(
                    f"case {self.name!r} has a part of type {kind.__name__}",
                    expected=f"any of {', '.join(one.__name__ for one in PARTS.values())}",
                )
            if kinds.count(kind) > 1:
                raise CaseError(f"case {self.name!r} has two parts of type {kind.__name__}", expected="one of each")
        object.__setattr__(self, "parts", present)

    def part(self, kind: type[P]) -> P | None:
        """The part of a kind, or None."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    @property
    def data_range(self) -> tuple[float, float] | None:
        """Range of the target in network units, where it is known."""
        known = self.part(DataRange)
        return (known.low, known.high) if known is not None else None

    @property
    def normaliser(self) -> Normaliser | None:
        """Raw values to network values and back."""
        return self.part(Normaliser)

    @property
    def projection(self) -> Projection | None:
        """Radiograph physics."""
        return self.part(Projection)

    @property
    def labels(self) -> Labels | None:
        """What the values of a label map mean."""
        return self.part(Labels)

    @property
    def regions(self) -> Regions | None:
        """Boxes that maps of the network should light up in."""
        return self.part(Regions)

    @property
    def data_path(self) -> DataPath | None:
        """What happens to an image between the file and the network."""
        return self.part(DataPath)

    @property
    def prototypes(self) -> PrototypeLearning | None:
        """How prototypes are learnt."""
        return self.part(PrototypeLearning)

    @property
    def training_state(self) -> TrainingState | None:
        """Splits, best checkpoints, monitors and loaded weights."""
        return self.part(TrainingState)

    @property
    def guidance(self) -> Guidance | None:
        """How the sampler is steered."""
        return self.part(Guidance)

    @property
    def deployment(self) -> Deployment | None:
        """Uncertainty, selection, settings and pictures."""
        return self.part(Deployment)

    @property
    def full_run(self) -> FullRun | None:
        """The author's own whole training, of which a trial may be a small part."""
        return self.part(FullRun)

    @property
    def authoring(self) -> Authoring:
        """What the author offers to trials and faults; empty where nothing is offered."""
        return self.part(Authoring) or Authoring()

    @property
    def treatments(self) -> Mapping[str, Callable[..., Case]]:
        """Changes that the author offers for trials, by name."""
        return self.authoring.treatments

    @property
    def contexts(self) -> tuple[Callable[[], AbstractContextManager[Any]], ...]:
        """Context managers entered around every use of the case."""
        return self.authoring.contexts

    @property
    def extras(self) -> Mapping[str, Any]:
        """What the author's treatments and faults need."""
        return self.authoring.extras

    def replace(self, **changes: Any) -> Case:
        """A copy with some fields or parts changed; ``diffusion__sample=f`` changes something within a part.

        A part goes by its name (``normaliser=None`` takes it away), and what belongs to :class:`Authoring` by its own.

        Raises:
            CaseError: Something within a part is changed that this case does not have.
        """
        own = {item.name for item in fields(self)}
        nested: dict[str, dict[str, Any]] = {}
        flat: dict[str, Any] = {}
        for key, value in changes.items():
            part, _, inner = key.partition("__")
            if inner:
                nested.setdefault(part, {})[inner] = value
            elif part in _AUTHORING:
                nested.setdefault("authoring", {})[part] = value
            else:
                flat[part] = DataRange(*value) if part == "data_range" and isinstance(value, tuple) else value
        for part, inner_changes in nested.items():
            current = flat.get(part, getattr(self, part))
            if current is None:
                raise CaseError(f"case {self.name!r} has no {part}", expected=f"a case that describes its {part}")
            flat[part] = replace(current, **inner_changes)
        named = {key: flat.pop(key) for key in list(flat) if key not in own and key in PARTS}
        if named:
            kept = [part for part in flat.get("parts", self.parts) if type(part) not in {PARTS[key] for key in named}]
            flat["parts"] = (*kept, *named.values())
        return replace(self, **flat)

    def has(self, part: str) -> bool:
        """True if a part is there; dotted names such as ``diffusion.sample`` are understood."""
        value: Any = self
        for name in part.split("."):
            value = getattr(value, name, None)
            if value is None or value in ((), {}):
                return False
        return True

    @contextmanager
    def open(self) -> Iterator[Case]:
        """Enter the runtime patches of this case; one that is in force already is not entered again."""
        entered = _ENTERED.get()
        fresh = [make for make in self.contexts if make not in entered]
        with ExitStack() as stack:
            token = _ENTERED.set((*entered, *fresh))
            stack.callback(_ENTERED.reset, token)
            for make in fresh:
                stack.enter_context(make())
            yield self

    def batches(self, split: Literal["train", "val"] = "train") -> Iterator[Any]:
        """A fresh pass over the batches of a split."""
        source = self.val if split == "val" and self.val is not None else self.train
        return iter(source() if callable(source) else source)

    def first_batches(self, count: int, split: Literal["train", "val"] = "train") -> list[Any]:
        """The first ``count`` batches of a split.

        Raises:
            CaseError: There is not even one.
        """
        found = list(islice(self.batches(split), count))
        if not found:
            raise CaseError(
                f"the {split} batches of case {self.name!r} ended before the first one",
                expected="at least one batch",
                do=f"iterate `case.{split}` yourself, and check that a generator is not used twice: "
                "pass a function that returns a fresh iterator",
            )
        return found

    def prediction(self, model: nn.Module, batch: Any) -> Tensor:
        """The deployment path.

        Raises:
            CaseError: The case has neither ``predict`` nor ``diffusion.sample``.
        """
        if self.predict is not None:
            return self.predict(model, batch)
        if self.diffusion is not None:
            return self.diffusion.sample(model, batch)
        raise CaseError(f"case {self.name!r} has no prediction path", expected="predict= or diffusion.sample=")

    def loss_terms(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """The weighted loss terms; a single tensor is called ``loss``.

        Raises:
            CaseError: The case has no loss.
        """
        if self.loss is None:
            raise CaseError(
                f"case {self.name!r} has no loss", expected="loss=(model, batch) -> Tensor or {term: Tensor}"
            )
        value = self.loss(model, batch)
        return dict(value) if isinstance(value, Mapping) else {"loss": value}

    def metric(self, name: str | None = None) -> tuple[str, Metric]:
        """A metric by name, or the first one, always as :class:`Metric`.

        Raises:
            CaseError: There are no metrics, or none of that name.
        """
        if not self.metrics:
            raise CaseError(f"case {self.name!r} has no metrics", expected='metrics={"psnr": ...}')
        chosen = name if name is not None else next(iter(self.metrics))
        if chosen not in self.metrics:
            raise CaseError(
                f"case {self.name!r} has no metric {chosen!r}", expected=f"one of {', '.join(self.metrics)}"
            )
        metric = self.metrics[chosen]
        if not isinstance(metric, Metric):
            metric = Metric(metric, unit="dB" if "psnr" in chosen.lower() else "")
        return chosen, metric

    def score(self, prediction: Tensor, batch: Any, name: str | None = None) -> float:
        """The figure of merit of a prediction in network units, in raw units where the metric and the case can.

        A metric with ``raw`` is computed on the decoded prediction and the raw target of the batch, so two cases that
        normalise differently are comparable.

        Raises:
            CaseError: There are no metrics, none of that name, or no target.
        """
        _, metric = self.metric(name)
        if self.target is None:
            raise CaseError(f"case {self.name!r} has no target", expected="target=batch -> Tensor")
        if metric.raw is not None and self.normaliser is not None:
            truth = self.normaliser.raw(batch) if self.normaliser.raw else self.normaliser.decode(self.target(batch))
            return float(metric.raw(self.normaliser.decode(prediction), truth))
        return metric(prediction, self.target(batch))
