"""Optional parts of a case, handed over as ``Case(parts=(Normaliser(...), Projection(...)))``.

Nobody needs them to begin. Each opens the checks that need it, and what is missing is listed as *not examined*. A case
holds at most one of each; :meth:`Case.replace` exchanges one by its name, for example
``case.replace(normaliser=other, deployment__selects="val/dice")``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class DataRange:
    """Range of the target in network units, where it is known.

    Attributes:
        low: Smallest value that a target can have.
        high: Largest value.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Normaliser:
    """How raw values become network values and back, so that every trial can be scored in raw units.

    Attributes:
        encode: Raw tensor (for example HU) to network values.
        decode: Network values to raw.
        unit: Unit of the raw values.
        tissues: Raw ranges the task needs, by name, for example ``{"soft tissue": (-50, 200)}``.
        raw: ``batch -> raw target`` where batches carry it; else the decoded target is used.
    """

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    unit: str = "HU"
    tissues: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    raw: Callable[[Any], Tensor] | None = None


@dataclass(frozen=True)
class Projection:
    """The radiograph physics of a case.

    Attributes:
        render: ``(volume, view) -> image``: volumes ``(B, 1, D, H, W)`` in the case's network units to radiographs
            ``(B, 1, h, w)``, exactly as the physics loss calls it.
        views: Names of the views, in the order of the radiographs given to the network.
        spacing_mm: Voxel size along D, H, W.
        from_mu: Linear attenuation in 1/mm, shape ``(B, 1, D, H, W)``, to the network units that ``render`` takes.
        output: What ``render`` returns: the line integral of mu (dimensionless), the transmitted fraction
            ``exp(-integral)``, or something that is normalised for display.
        to_line_integral: Rendered image back to the line integral of mu, where ``output`` is ``"display"``.
        observed: ``(batch, view) -> image``: the radiograph the render is compared with.
        geometry: ``"cone"`` or ``"parallel"``.
    """

    render: Callable[[Tensor, str], Tensor]
    views: tuple[str, ...] = ("frontal",)
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    from_mu: Callable[[Tensor], Tensor] | None = None
    output: Literal["line_integral", "transmission", "display"] = "line_integral"
    to_line_integral: Callable[[Tensor], Tensor] | None = None
    observed: Callable[[Any, str], Tensor] | None = None
    geometry: Literal["cone", "parallel"] = "cone"


@dataclass(frozen=True)
class Labels:
    """What the values of a label map mean, for tasks whose target is drawn and not measured.

    Attributes:
        read: ``batch -> label map`` with the values of the files, before any encoding, shape ``(B, ...)``.
        classes: Name of each value that is a class, background included, for example ``{0: "background", 1: "liver"}``.
        ignore: Values that mean "not labelled": nothing may be learnt there.
    """

    read: Callable[[Any], Tensor]
    classes: Mapping[float, str]
    ignore: tuple[float, ...] = ()


@dataclass(frozen=True)
class Regions:
    """Boxes that maps of the network should light up in.

    Attributes:
        boxes: ``batch -> one tensor (n, 5) an image``: index of the concept, then x0, y0, x1, y1 relative to the image.
        drawn: ``batch -> (B, K, h, w)``: the boxes of each concept as the loss sees them on the map, in [0, 1].
        loss: ``(maps, batch) -> scalar``: the box term for maps of logits ``(B, K, h, w)``, unweighted.
        term: Name of the term among the loss terms of the case.
        concepts: Names of the K concepts.
    """

    boxes: Callable[[Any], Sequence[Tensor]]
    drawn: Callable[[Any], Tensor]
    loss: Callable[[Tensor, Any], Tensor]
    term: str = "boxes"
    concepts: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataPath:
    """What happens to an image and its boxes between the file and the network.

    Attributes:
        apply: ``(raw, boxes, split) -> (image, boxes)``: the whole path of one image ``(1, H, W)`` in raw grey values
            with boxes ``(n, 4)`` relative to it. What it draws, it draws from the global generators of torch, numpy or
            ``random``, as a loader does.
        raw: Raw images as they are in the files, ``(N, 1, H, W)``.
        white: Raw value that is shown white.
    """

    apply: Callable[[Tensor, Tensor, str], tuple[Tensor, Tensor]]
    raw: Tensor
    white: float = 255.0


@dataclass(frozen=True)
class PrototypeLearning:
    """How prototypes are learnt.

    Attributes:
        fit: ``seed -> (before, after)``: unit prototypes ``(K, M, D)`` before and after learning, on the case's own
            data with the case's own loss, short enough for a check.
        used: ``seed -> (K, M)``: after the same learning, of how many patches of its concept each prototype is the
            nearest.
        monitored: The figure that the case's own monitor reports for prototypes ``(K, M, D)``.
        temperature: Temperature of the softmax, for the report.
    """

    fit: Callable[[int], tuple[Tensor, Tensor]]
    used: Callable[[int], Tensor]
    monitored: Callable[[Tensor], float] | None = None
    temperature: float = float("nan")


@dataclass(frozen=True)
class TrainingState:
    """What a training does besides training; each is examined by feeding it something with a known right answer.

    Attributes:
        split: ``() -> {part: names}``: the division of the data, as every process draws it anew.
        best: ``() -> offer``: a fresh selector of the best checkpoint; ``offer(stage, score)`` is True where the score
            is to be kept as the best of its stage. Larger scores are better.
        stages: Names of the stages, in order.
        monitor: ``{part: gradient norm} -> messages``: the monitor of gradients.
        load: ``(model, tensors by name) -> anything``: how weights of another training are loaded; it may raise to
            refuse them.
        weights: ``model -> tensors by name``: the file that is loaded, with values that differ from the model's.
    """

    split: Callable[[], Mapping[str, Sequence[str]]] | None = None
    best: Callable[[], Callable[[str, float], bool]] | None = None
    stages: tuple[str, ...] = ()
    monitor: Callable[[Mapping[str, float]], Sequence[str]] | None = None
    load: Callable[[nn.Module, Mapping[str, Tensor]], Any] | None = None
    weights: Callable[[nn.Module], Mapping[str, Tensor]] | None = None


@dataclass(frozen=True)
class Guidance:
    """How a sampler is steered.

    Attributes:
        sample: ``(model, batch, scale) -> x0``: the sampling loop with this strength of guidance; 0 is none.
        energy: ``(x0, batch) -> scalar``: what guidance is to lower.
        scale: The strength in use.
    """

    sample: Callable[[nn.Module, Any, float], Tensor]
    energy: Callable[[Tensor, Any], Tensor]
    scale: float


@dataclass(frozen=True)
class Deployment:
    """What is done with a model besides training it; each is examined by something with a known right answer.

    Attributes:
        uncertainty: ``(model, batch) -> map``: how unsure the model is of each pixel, by the case's own method.
        selects: Name of the figure that the best checkpoint is chosen by.
        produces: ``() -> names`` of the figures that a validation produces.
        validate: ``model -> {name: figure}``: one validation, as the training runs it, on the validation batches.
        settings: The configuration, flat.
        configure: ``settings -> anything``: builds what the settings describe, reading them as a mapping.
        picture: ``(image, mask) -> (image, mask)``: both ``(1, H, W)`` tensors as the case's own pictures show them.
    """

    uncertainty: Callable[[nn.Module, Any], Tensor] | None = None
    selects: str = ""
    produces: Callable[[], Iterable[str]] | None = None
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None
    settings: Mapping[str, Any] | None = None
    configure: Callable[[Mapping[str, Any]], Any] | None = None
    picture: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None


@dataclass(frozen=True)
class FullRun:
    """How long the author trains, and what came of it.

    ``Case.steps`` is how long a *trial* trains, and that a trial ends too early says nothing. Where ``steps`` is the
    same number, the trial's training is the author's own. Else a finished one is needed: its ``history``.

    Attributes:
        steps: Optimiser steps of the whole training, as the author plans it.
        history: ``() -> (step, figure)`` pairs of the case's first metric, over the author's own training so far.
        rates: ``() -> learning rate`` of each of its steps, where it was not constant.
    """

    steps: int
    history: Callable[[], Iterable[tuple[float, float]]] | None = None
    rates: Callable[[], Iterable[float]] | None = None


@dataclass(frozen=True)
class Authoring:
    """What the author of a case offers to trials and faults.

    Attributes:
        treatments: ``{name: (case, **parameters) -> case}``: what may be changed in a trial, for things that no generic
            treatment can reach, for example ``{"window": rewindow}``.
        contexts: Context managers entered around every use of the case (runtime patches of faults and treatments).
        extras: Anything that these treatments and faults need.
    """

    treatments: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    contexts: tuple[Callable[[], AbstractContextManager[Any]], ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)


Part = (
    DataRange
    | Normaliser
    | Projection
    | Labels
    | Regions
    | DataPath
    | PrototypeLearning
    | TrainingState
    | Guidance
    | Deployment
    | FullRun
    | Authoring
)

PARTS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "data_range": DataRange,
        "normaliser": Normaliser,
        "projection": Projection,
        "labels": Labels,
        "regions": Regions,
        "data_path": DataPath,
        "prototypes": PrototypeLearning,
        "training_state": TrainingState,
        "guidance": Guidance,
        "deployment": Deployment,
        "full_run": FullRun,
        "authoring": Authoring,
    }
)
"""Every part by the name that it has on a case."""
