import numpy as np
import torch
from torch.utils.data import Dataset

CLASSES = ["naevus", "melanoma", "keratosis", "angioma"]


class Lesions(Dataset):
    """Skin with one lesion; border, colour and texture go with the class."""

    def __init__(self, n, seed, size=32):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[:size, :size] / size - 0.5
        self.images, self.labels = [], rng.choice(4, n, p=[0.4, 0.2, 0.25, 0.15])
        for c in self.labels:
            skin = np.array([0.85, 0.68, 0.58]) + rng.normal(0, 0.03, 3)
            colour = np.array([[0.5, 0.35, 0.25], [0.4, 0.28, 0.22], [0.55, 0.42, 0.3], [0.65, 0.25, 0.25]][c]) + rng.normal(0, 0.06, 3)
            phi = np.arctan2(yy, xx)
            ragged = [0.04, 0.22, 0.1, 0.06][c] * rng.uniform(0.5, 1.5)
            r = rng.uniform(0.16, 0.3) * (1 + ragged * np.sin(5 * phi + rng.uniform(0, 6)) + ragged * np.sin(3 * phi + rng.uniform(0, 6)))
            inside = 1 / (1 + np.exp((np.hypot(yy - rng.uniform(-0.08, 0.08), xx - rng.uniform(-0.08, 0.08)) - r) / 0.02))
            texture = [0.02, 0.06, 0.1, 0.03][c] * np.sin(45 * yy + rng.uniform(0, 6)) * np.sin(45 * xx + rng.uniform(0, 6))
            image = skin[:, None, None] * (1 - inside) + (colour[:, None, None] + texture) * inside
            self.images.append((image + rng.normal(0, 0.06, image.shape)).clip(0, 1).astype(np.float32))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return (torch.from_numpy(self.images[i]) - 0.6) / 0.2, int(self.labels[i])
