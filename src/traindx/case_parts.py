"""Parts of a case that classifiers with boxes and prototypes have: regions, the path of the data, prototypes, upkeep.

Like every part of a :class:`~traindx.Case` they are optional, and what is missing is listed as *not examined*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


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
