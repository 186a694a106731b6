"""The network: an encoder, concept maps, prototypes and a task head, in parts that can be frozen."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.finding import Frozen
from traindx.recipes.concepts.loss import Pooling, pooled


class Architecture(Frozen):
    """What a checkpoint and the run that loads it must agree on.

    Attributes:
        size: Side of the input in pixels.
        widths: Channels of the stages.
        strides: Stride of each stage; their product is the size of a map cell in pixels.
        prototypes: Prototypes of each concept.
        embedding: Length of a patch's vector.
        pooling: How a map becomes a concept's logit.
        channels: 1 for grey images, 3 for colour.
    """

    size: int = 128
    widths: tuple[int, ...] = (16, 32, 64, 96)
    strides: tuple[int, ...] = (2, 2, 2, 1)
    prototypes: int = 5
    embedding: int = 48
    pooling: Pooling = "lse"
    channels: int = 1

    @property
    def map_size(self) -> tuple[int, int]:
        """Rows and columns of the concept maps."""
        side = self.size
        for stride in self.strides:
            side = -(-side // stride)
        return side, side


class Residual(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        same = stride == 1 and channels_in == channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C_in, H, W)`` to ``(B, C, H / stride, W / stride)``."""
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class Encoder(nn.Module):
    """Image to a map of features: a convolution, then one residual block a stage."""

    def __init__(self, widths: Iterable[int], strides: Iterable[int], channels: int = 1) -> None:
        super().__init__()
        widths, strides = tuple(widths), tuple(strides)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, strides[0], 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        self.stages = nn.Sequential(
            *(Residual(a, b, s) for a, b, s in zip(widths, widths[1:], strides[1:], strict=False))
        )
        self.channels = widths[-1]

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C_in, S, S)`` to ``(B, C, h, w)``."""
        features: Tensor = self.stages(self.stem(image))
        return features


class ConceptMaps(nn.Module):
    """Encoder and one map of logits a concept: what the first stage trains, and all that an examination trains.

    Args:
        architecture: Sizes.
        concepts: Number of concepts.
    """

    def __init__(self, architecture: Architecture, concepts: int) -> None:
        super().__init__()
        self.encoder = Encoder(architecture.widths, architecture.strides, architecture.channels)
        self.head = nn.Conv2d(self.encoder.channels, concepts, 1)
        mark(self.encoder, "encoder")
        mark(self.head, "head")

    def forward(self, image: Tensor) -> Tensor:
        """Maps of logits ``(B, K, h, w)``."""
        maps: Tensor = self.head(self.encoder(image))
        return maps


class Prototypes(nn.Module):
    """Unit vectors that patches are compared with: M a concept, in a space of D dimensions."""

    def __init__(self, channels: int, concepts: int, count: int, dimensions: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(channels, dimensions, 1), nn.ReLU(), nn.Conv2d(dimensions, dimensions, 1)
        )
        self.weight = nn.Parameter(F.normalize(torch.randn(concepts, count, dimensions), dim=-1))

    @property
    def vectors(self) -> Tensor:
        """Unit prototypes ``(K, M, D)``."""
        return F.normalize(self.weight, dim=-1)

    def embed(self, features: Tensor) -> Tensor:
        """Unit vector of every patch, ``(B, D, h, w)``."""
        return F.normalize(self.project(features), dim=1)

    def similarity(self, features: Tensor) -> Tensor:
        """Cosine of every patch with every prototype, ``(B, K, M, h, w)``."""
        return torch.einsum("bdhw,kmd->bkmhw", self.embed(features), self.vectors)

    def forward(self, features: Tensor) -> Tensor:
        """Best cosine over the image, ``(B, K, M)``."""
        return self.similarity(features).amax(dim=(3, 4))


class ConceptNetwork(nn.Module):
    """Encoder, concept maps, prototypes and task head.

    Args:
        architecture: Sizes.
        concepts: Number of concepts K.
        classes: Number of classes of the task.
    """

    def __init__(self, architecture: Architecture, concepts: int, classes: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.maps = ConceptMaps(architecture, concepts)
        self.prototypes = Prototypes(
            self.maps.encoder.channels, concepts, architecture.prototypes, architecture.embedding
        )
        self.task = nn.Linear(concepts * architecture.prototypes, classes)
        mark(self.prototypes, "prototypes")
        mark(self.task, "task")

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Maps ``(B, K, h, w)``, concept logits ``(B, K)``, similarities ``(B, K, M)`` and task logits ``(B, T)``."""
        features = self.maps.encoder(image)
        maps = self.maps.head(features)
        similarity = self.prototypes(features)
        return {
            "maps": maps,
            "concepts": pooled(maps, self.architecture.pooling),
            "similarity": similarity,
            "task": self.task(similarity.flatten(1)),
        }

    def train_only(self, *parts: str) -> None:
        """Let some parts learn and hold the others still: no gradient, and batch statistics that do not move.

        Args:
            parts: Any of ``encoder``, ``head``, ``prototypes``, ``task``.
        """
        modules = {
            "encoder": self.maps.encoder,
            "head": self.maps.head,
            "prototypes": self.prototypes,
            "task": self.task,
        }
        self.train()
        for name, module in modules.items():
            module.requires_grad_(name in parts)
            module.train(name in parts)


def mark(module: nn.Module, part: str) -> None:
    """Note on every parameter which part it belongs to, for :func:`parameter_groups`."""
    for parameter in module.parameters():
        parameter.part = part  # type: ignore[attr-defined]


def parameter_groups(parameters: Iterable[nn.Parameter], rates: dict[str, float]) -> list[dict[str, object]]:
    """Discriminative learning rates: one group a part, in the order of ``rates``; weight decay on matrices only.

    Args:
        parameters: Parameters, marked by :func:`mark`; unmarked ones go to the last part.
        rates: Learning rate by part. Parameters that need no gradient are left out.
    """
    last = list(rates)[-1]
    found: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            part = getattr(parameter, "part", last)
            found.setdefault((part if part in rates else last, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": found[part, matrix], "lr": rate, "name": part, **({} if matrix else {"weight_decay": 0.0})}
        for part, rate in rates.items()
        for matrix in (True, False)
        if (part, matrix) in found
    ]
