"""Parts of a case around a generative model in use: guidance, uncertainty, selection, settings and pictures.

Like every part of a :class:`~traindx.Case` they are optional, and what is missing is listed as *not examined*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


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
