"""Contrastive loss over pairs chosen within the batch."""
from itertools import combinations

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def squared_distances(vectors):
    """(N, N) squared Euclidean distances."""
    square = vectors.pow(2).sum(1)
    return square[:, None] + square[None] - 2 * vectors @ vectors.t()


class HardNegativePairs:
    """All pairs of the same hand, and as many of different hands, the hard ones."""

    def __call__(self, embeddings, labels):
        labels = labels.numpy()
        distances = squared_distances(embeddings.detach()).numpy()
        pairs = np.array(list(combinations(range(len(labels)), 2)))
        same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
        positive, negative = pairs[same], pairs[~same]
        gaps = distances[negative[:, 0], negative[:, 1]]
        count = min(len(positive), len(negative) - 1)
        hardest = np.argpartition(gaps, count)[:count]
        return torch.from_numpy(positive), torch.from_numpy(negative[hardest])


class ChosenPairsLoss(nn.Module):
    def __init__(self, margin, selector):
        super().__init__()
        self.margin, self.selector = margin, selector

    def forward(self, embeddings, labels):
        positive, negative = self.selector(embeddings, labels)
        near = (embeddings[positive[:, 0]] - embeddings[positive[:, 1]]).pow(2).sum(1)
        far = (embeddings[negative[:, 0]] - embeddings[negative[:, 1]]).pow(2).sum(1)
        apart = F.relu(self.margin - (far + 1e-8).sqrt()).pow(2)
        return torch.cat([near, apart]).mean()
