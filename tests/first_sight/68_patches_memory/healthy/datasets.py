"""Tissue patches held in memory, with augmentation when they are drawn for training."""
import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.utils.data import Dataset

CLASSES = ("stroma", "adipose", "glands", "lymphoid")
MEAN, STD = (213.0, 163.0, 195.0), (37.0, 51.0, 38.0)


def make_patch(kind, rng, size=40):
    """(3, size, size) in 0..255 with the texture of a tissue."""
    yy, xx = np.mgrid[:size, :size]
    base = np.array([0.85, 0.6, 0.75])[:, None, None] + rng.normal(0, 0.04, (3, 1, 1))
    fine = gaussian_filter(rng.normal(0, 1, (size, size)), (0.8, 3.0))
    image = base + 0.12 * fine / fine.std() * 0.5
    if kind == 1:
        cell = np.minimum(np.abs(np.sin((xx + rng.uniform(0, 9)) * 0.33)), np.abs(np.sin((yy + rng.uniform(0, 9)) * 0.33)))
        image = np.where(cell < 0.25, image, 0.92)
    dots = {0: 4, 1: 3, 2: 0, 3: 14}[kind]
    for _ in range(dots):
        x, y = rng.uniform(0, size, 2)
        image[:, (xx - x) ** 2 + (yy - y) ** 2 < 2.5] -= np.array([0.35, 0.3, 0.15])[:, None]
    if kind == 2:
        for _ in range(2):
            x, y, r = rng.uniform(8, size - 8), rng.uniform(8, size - 8), rng.uniform(5, 9)
            d = np.hypot(xx - x, yy - y)
            image[:, np.abs(d - r) < 1.6] -= np.array([0.3, 0.28, 0.12])[:, None]
            image[:, d < r - 1.6] = 0.93
    return (255 * np.clip(image + rng.normal(0, 0.12, image.shape), 0, 1)).astype(np.float32)


def random_shift(image, rng, pad=4):
    """Moves the patch by up to pad pixels; what comes in from outside is the mean."""
    size = image.shape[1]
    wide = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    top, left = rng.integers(0, 2 * pad + 1, 2)
    return wide[:, top:top + size, left:left + size]


class Patches(Dataset):
    """All patches of a split, in memory, as they come from the scanner (0..255)."""

    def __init__(self, split, per_class, seed):
        rng = np.random.default_rng(seed)
        self.split = split
        self.labels = np.tile(np.arange(len(CLASSES)), per_class)
        self.inputs = np.stack([make_patch(kind, rng) for kind in self.labels])
        self.rng = np.random.default_rng(seed + 1)

    def __len__(self):
        return len(self.inputs)

    def prepare(self, image):
        for channel in range(3):
            image[channel] -= MEAN[channel]
            image[channel] /= STD[channel]
        if self.split == "train":
            if self.rng.random() < 0.5:
                image = image[:, :, ::-1]
            image = random_shift(image, self.rng)
        return image

    def __getitem__(self, index):
        image, label = self.inputs[index].copy(), self.labels[index]
        return torch.from_numpy(np.ascontiguousarray(self.prepare(image))), int(label)
