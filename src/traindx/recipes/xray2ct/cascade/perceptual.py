"""The perceptual term: distance in the features of VGG-16, from a file of weights on this machine.

The document used a network trained on photographs for CT and called that a fault. Whether it helps is a matter of
measurement; without a file of weights the term is off, and nothing is downloaded.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.errors import InputError

# Simonyan & Zisserman 2015, configuration D, up to the third block; places in the published ``features`` list
_CONVOLUTIONS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}
_POOLED_BEFORE = (5, 10)
_COMPARED_AFTER = (2, 7, 14)  # relu1_2, relu2_2, relu3_3 (Johnson et al. 2016)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the photographs it was trained on


class PerceptualLoss(nn.Module):
    """Mean squared distance of channel-normalised features (Zhang et al. 2018, equation 1, without learned weights).

    Compared are slices in all three planes, drawn anew at every call.

    Args:
        weights: A state dict of VGG-16 with the published names, ``features.0.weight`` and so on.
        slices: Slices compared in each plane.

    Raises:
        InputError: The file cannot be read, or a tensor is missing or has another shape.
    """

    def __init__(self, weights: Path, slices: int = 2) -> None:
        super().__init__()
        self.slices = slices
        try:
            stored = torch.load(weights, map_location="cpu", weights_only=True)
        except (OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise InputError(f"{weights} cannot be read as weights: {error}", expected="a state dict") from error
        self.layers = nn.ModuleDict()
        for place, (inputs, outputs) in _CONVOLUTIONS.items():
            layer = nn.Conv2d(inputs, outputs, 3, padding=1)
            for name, own in layer.named_parameters():
                found = stored.get(f"features.{place}.{name}")
                if found is None or found.shape != own.shape:
                    raise InputError(
                        f"{weights}: features.{place}.{name} is {'missing' if found is None else tuple(found.shape)}",
                        expected=f"shape {tuple(own.shape)}, as in VGG-16",
                    )
                own.data.copy_(found)
            self.layers[str(place)] = layer
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare volumes in network values, ``(B, 1, D, H, W)``; a scalar."""
        distances = []
        for axis in (2, 3, 4):
            chosen = torch.randint(prediction.shape[axis], (self.slices,)).tolist()
            for index in chosen:
                features = [self._features(volume.select(axis, index)) for volume in (prediction, target)]
                pairs = zip(*features, strict=True)
                distances += [(a - b).square().sum(dim=1).mean() for a, b in pairs]
        return torch.stack(distances).mean()

    def _features(self, image: Tensor) -> list[Tensor]:
        x = ((image.clamp(-1, 1) + 1) / 2 - self.get_buffer("mean")) / self.get_buffer("deviation")
        found = []
        for place, layer in self.layers.items():
            if int(place) in _POOLED_BEFORE:
                x = F.max_pool2d(x, 2)
            x = F.relu(layer(x))
            if int(place) in _COMPARED_AFTER:
                found.append(F.normalize(x, dim=1))
        return found
