"""Frames of laparoscopic cholecystectomy, one phase each."""
import numpy as np
import torch
from torch.utils.data import Dataset

PHASES = ("preparation", "dissection", "clipping", "packaging", "cleaning")
SIZE = 40


def make_frame(phase, rng):
    """(3, SIZE, SIZE) in 0..1: tissue under a round light, and the tools and fluids of the phase."""
    yy, xx = np.mgrid[:SIZE, :SIZE]
    cy, cx = SIZE / 2 + rng.normal(0, 3, 2)
    light = np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / (2 * rng.uniform(14, 20) ** 2))
    image = np.array([0.75, 0.35, 0.3])[:, None, None] * light + rng.normal(0, 0.03, (3, 1, 1))
    y, x, r = rng.uniform(14, 26), rng.uniform(14, 26), rng.uniform(6, 8)
    bladder = (yy - y) ** 2 + ((xx - x) * 0.7) ** 2 < r * r
    if phase != 3:
        image[:, bladder] = np.array([0.45, 0.55, 0.25])[:, None] * light[bladder]

    def shaft(width, colour):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(2, 7)
        across = np.abs((xx - x) * np.sin(angle) - (yy - y) * np.cos(angle))
        along = (xx - x) * np.cos(angle) + (yy - y) * np.sin(angle)
        image[:, (across < width) & (along > reach)] = np.array(colour)[:, None]

    if phase in (0, 1, 2):
        shaft(1.6, (0.6, 0.6, 0.62))
    if phase == 1:
        shaft(1.2, (0.15, 0.15, 0.15))
    if phase == 2:
        for _ in range(3):
            a, b = rng.integers(12, 28, 2)
            image[:, a:a + 4, b:b + 2] = 0.9
    if phase == 3:
        image[:, (yy - y) ** 2 + (xx - x) ** 2 < (r + 2) ** 2] = np.array([0.8, 0.8, 0.85])[:, None]
    if phase == 4:
        image[:, (yy > y + 3) & (np.abs(xx - x) < 12)] *= np.array([0.9, 0.3, 0.3])[:, None]
        shaft(2.2, (0.8, 0.8, 0.8))
    return (image * rng.uniform(0.6, 1.2) + rng.normal(0, 0.06, image.shape)).astype(np.float32)


class Frames(Dataset):
    def __init__(self, count, seed, train=False):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, len(PHASES), count)
        self.frames = np.stack([make_frame(p, rng) for p in self.labels])
        self.train = train

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        frame = torch.from_numpy(self.frames[i])
        if self.train:
            if torch.rand(()) < 0.5:
                frame = frame.flip(2)
            frame = frame * torch.empty(()).uniform_(0.85, 1.15)
        return (frame - 0.35) / 0.25, int(self.labels[i])
