"""Surface points of airway trees: trunk, left and right branch, and leaks into the lung."""
import numpy as np
import torch
from torch.utils.data import Dataset


def tube(rng, start, end, radius, n):
    """Points on the wall of a straight tube."""
    axis = (end - start) / np.linalg.norm(end - start)
    side = np.cross(axis, [0.0, 1.0, 0.3])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    t, angle = rng.uniform(0, 1, n), rng.uniform(0, 2 * np.pi, n)
    ring = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other
    return start + t[:, None] * (end - start) + radius * ring


def make_tree(seed, points):
    """(points, 3) coordinates and (points,) labels: 0 trunk, 1 left, 2 right, 3 leak."""
    rng = np.random.default_rng(seed)
    carina = np.array([0.0, 0.0, 0.0]) + rng.normal(0, 0.08, 3)
    top = carina + np.array([0.0, 0.0, 1.0]) + rng.normal(0, 0.06, 3)
    left = carina + np.array([-0.75, 0.1, -0.8]) + rng.normal(0, 0.12, 3)
    right = carina + np.array([0.6, 0.0, -0.9]) + rng.normal(0, 0.12, 3)
    n = points // 4
    trunk = tube(rng, carina, top, rng.uniform(0.13, 0.17), points - 3 * n)
    a = tube(rng, carina, left, rng.uniform(0.08, 0.12), n)
    b = tube(rng, carina, right, rng.uniform(0.09, 0.13), n)
    stem = (left, right)[rng.integers(2)]
    leak = carina + rng.uniform(0.5, 0.9) * (stem - carina) + np.array([0, rng.choice([-0.25, 0.25]), 0]) + rng.normal(0, 0.1, (n, 3))
    xyz = np.concatenate([trunk, a, b, leak]) + rng.normal(0, 0.02, (points, 3))
    label = np.repeat([0, 1, 2, 3], [len(trunk), n, n, n])
    return xyz.astype(np.float32), label


class Airways(Dataset):
    def __init__(self, count, points, seed, augment=False):
        self.trees = [make_tree(seed + i, points) for i in range(count)]
        self.augment = augment

    def __len__(self):
        return len(self.trees)

    def __getitem__(self, i):
        xyz, label = self.trees[i]
        xyz = xyz - xyz.mean(0)
        if self.augment:
            turn = np.random.normal(0, 0.08)
            c, s = np.cos(turn), np.sin(turn)
            xyz = xyz @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32).T * np.random.uniform(0.92, 1.08)
        return torch.from_numpy(np.ascontiguousarray(xyz.T, dtype=np.float32)), torch.from_numpy(label)
