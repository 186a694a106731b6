"""Synthetic OCT B-scans: normal, drusen, diabetic macular oedema, choroidal neovascularisation."""
import numpy as np
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch.utils.data import DataLoader, TensorDataset

CLASSES = ("normal", "drusen", "DME", "CNV")
ROWS, COLS = 32, 48


def scan(kind, rng):
    depth, column = np.mgrid[:ROWS, :COLS].astype(float)
    bend = 2.5 * gaussian_filter1d(rng.normal(0, 1, COLS), 9, mode="reflect") * 3
    surface = 9 + rng.uniform(-2, 2) + bend + 2.5 * np.exp(-((column[0] - COLS / 2) ** 2) / 40)
    base = 22 + rng.uniform(-1, 1) + bend
    if kind == 1:
        for place in rng.uniform(6, COLS - 6, rng.integers(2, 5)):
            base = base - rng.uniform(2, 3.2) * np.exp(-((column[0] - place) ** 2) / rng.uniform(3, 7))
    if kind == 3:
        base = base - rng.uniform(3, 5) * np.exp(-((column[0] - rng.uniform(15, 33)) ** 2) / rng.uniform(25, 50))
    image = np.zeros((ROWS, COLS))
    retina = (depth > surface) & (depth < base)
    image[retina] = 0.45
    image += 0.35 * np.exp(-((depth - surface) ** 2) / 2) + 0.5 * np.exp(-((depth - base) ** 2) / 1.6)
    image += 0.3 * (depth > base) * np.exp(-(depth - base) / 5)
    if kind == 2:
        for _ in range(rng.integers(2, 6)):
            x = rng.uniform(10, COLS - 10)
            y = rng.uniform(surface[int(x)] + 3, base[int(x)] - 2.5)
            image -= 0.35 * np.exp(-(((depth - y) / rng.uniform(1.2, 2.2)) ** 2 + ((column - x) / rng.uniform(1.5, 3)) ** 2))
    if kind == 3 and rng.random() < 0.6:
        x = rng.uniform(16, 32)
        image -= 0.25 * np.exp(-(((depth - base[int(x)] + 3) / 1.5) ** 2 + ((column - x) / 4) ** 2))
    speckle = rng.gamma(10, 1 / 10, image.shape)
    return gaussian_filter(image.clip(0.02) * speckle, 0.5) * rng.uniform(0.8, 1.2)


def make_set(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), count)
    images = np.stack([scan(k, rng) for k in labels])[:, None].astype(np.float32)
    return TensorDataset(torch.from_numpy((images - 0.25) / 0.25), torch.from_numpy(labels))


def fetch_dataloader(params):
    train = DataLoader(make_set(params["train_size"], 1), params["batch_size"], shuffle=True, drop_last=True)
    dev = DataLoader(make_set(params["dev_size"], 2), 100)
    return train, dev
