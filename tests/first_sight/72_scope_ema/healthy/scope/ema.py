"""Exponential moving average of a network."""
from copy import deepcopy

import torch
import torch.nn as nn


class EMA(nn.Module):
    """An averaged copy of a network: weights are averaged, buffers (running statistics and the like) are taken over.

    During the first `warmup` steps the copy simply follows the network.
    """

    def __init__(self, net, decay=0.99, warmup=50, every=2):
        super().__init__()
        self.source = [net]  # in a list, so that it is not saved twice
        self.copy = deepcopy(net).requires_grad_(False)
        self.decay, self.warmup, self.every, self.count = decay, warmup, every, 0
        self.weight_names = {name for name, _ in net.named_parameters()}
        self.buffer_names = {name for name, _ in net.named_buffers()}

    def weights_of(self, net):
        return [tensor for name, tensor in net.named_parameters() if name in self.weight_names]

    def buffers_of(self, net):
        return [tensor for name, tensor in net.named_buffers() if name in self.buffer_names]

    @torch.no_grad()
    def update(self):
        self.count += 1
        if self.count % self.every:
            return
        keep = 0.0 if self.count <= self.warmup else self.decay
        for mean, now in zip(self.weights_of(self.copy), self.weights_of(self.source[0])):
            mean.lerp_(now, 1 - keep)
        for mean, now in zip(self.buffers_of(self.copy), self.buffers_of(self.source[0])):
            mean.copy_(now)

    def forward(self, frames):
        return self.copy(frames)
