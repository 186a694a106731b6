"""Infra-red images of palm veins: each hand has its own tree of veins, each capture its own pose and exposure."""
import numpy as np
import torch
from scipy.ndimage import affine_transform, gaussian_filter
from torch.utils.data import Dataset, Sampler

SIZE = 48


def vein_pattern(identity):
    """Dark lines of one hand, drawn as random walks from the wrist."""
    rng = np.random.default_rng(1000 + identity)
    canvas = np.zeros((SIZE + 16, SIZE + 16))
    for _ in range(5):
        x, y, angle = rng.uniform(12, SIZE + 4), SIZE + 15.0, -np.pi / 2 + rng.normal(0, 0.3)
        for _ in range(90):
            angle += rng.normal(0, 0.16)
            x, y = x + np.cos(angle), y + np.sin(angle)
            if 0 <= x < SIZE + 16 and 0 <= y < SIZE + 16:
                canvas[int(y), int(x)] = 1
    return gaussian_filter(canvas, 1.1)


def capture(pattern, rng):
    turn = rng.normal(0, 0.07)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * rng.uniform(0.95, 1.05)
    middle = np.array(pattern.shape) / 2
    moved = affine_transform(pattern, matrix, middle - matrix @ middle + rng.normal(0, 1.5, 2), order=1)
    image = rng.uniform(0.55, 0.75) - rng.uniform(0.8, 1.3) * moved[8:-8, 8:-8]
    return (image + rng.normal(0, 0.05, image.shape)).astype(np.float32)


class Palms(Dataset):
    def __init__(self, identities, captures, seed):
        rng = np.random.default_rng(seed)
        self.labels = np.repeat(np.arange(len(identities)), captures)
        patterns = [vein_pattern(i) for i in identities]
        self.images = np.stack([capture(patterns[label], rng) for label in self.labels])
        self.images = (self.images - 0.6) / 0.15

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i])[None], int(self.labels[i])


class BalancedBatches(Sampler):
    """Batches of so many hands with so many captures each."""

    def __init__(self, labels, hands, captures, batches):
        self.labels, self.hands, self.captures, self.batches = labels, hands, captures, batches

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            chosen = np.random.choice(np.unique(self.labels), self.hands, replace=False)
            yield np.concatenate([np.random.choice(np.flatnonzero(self.labels == c), self.captures, replace=False) for c in chosen]).tolist()
