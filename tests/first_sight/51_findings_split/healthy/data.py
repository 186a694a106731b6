import numpy as np
import torch
from torch.utils.data import Dataset

FINDINGS = ["effusion", "nodule", "cardiomegaly", "atelectasis", "pneumothorax"]


class ChestFindings(Dataset):
    """Radiographs of 40 x 40 with up to five faint findings and the labels a reader gave, some of them wrong."""

    def __init__(self, n=600, size=40, seed=0):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[:size, :size] / size
        self.images, self.labels = [], np.zeros((n, len(FINDINGS)), np.int64)
        for i in range(n):
            y = (rng.random(5) < [0.35, 0.2, 0.3, 0.25, 0.12]).astype(int)
            image = 0.5 - 0.3 * sum((((yy - 0.5) / 0.38) ** 2 + ((xx - c) / 0.17) ** 2 < 1) for c in (0.28, 0.72)).astype(float)
            image += 0.1 * np.sin(40 * yy + rng.uniform(0, 6))
            heart = 0.14 + rng.normal(0, 0.02) + 0.08 * y[2]
            image[((yy - 0.62) / 0.2) ** 2 + ((xx - 0.52) / heart) ** 2 < 1] = 0.6
            side = rng.choice([0.28, 0.72])
            image += y[0] * 0.25 * (yy > 0.78) * (np.abs(xx - side) < 0.17)
            ny, nx = rng.uniform(0.3, 0.6), rng.choice([0.28, 0.72]) + rng.uniform(-0.08, 0.08)
            image += y[1] * 0.3 * (np.hypot(yy - ny, xx - nx) < 0.05)
            image += y[3] * 0.2 * (np.abs(yy - rng.uniform(0.55, 0.7)) < 0.02) * (np.abs(xx - side) < 0.15)
            image -= y[4] * 0.2 * (yy < 0.28) * (np.abs(xx - side) < 0.15)
            image = image * rng.uniform(0.85, 1.15) + rng.normal(0, 0.13, image.shape)
            self.images.append(torch.from_numpy(image).float()[None])
            wrong = rng.random(5) < 0.08
            self.labels[i] = np.where(wrong, 1 - y, y)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return (self.images[i] - 0.45) / 0.25, torch.from_numpy(self.labels[i]).float()
