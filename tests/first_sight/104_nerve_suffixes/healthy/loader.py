"""Synthetic nerve cross-sections in a BIDS-like folder, and the dataset that reads them."""
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.utils.data import Dataset


def nerve(rng, size):
    """An SEM-like image of fibres, with the masks of myelin sheaths and of axons."""
    yy, xx = np.mgrid[:size, :size].astype(float)
    image = 0.62 + 0.25 * gaussian_filter(rng.normal(0, 1, (size, size)), 2)
    myelin, axon = np.zeros((size, size), bool), np.zeros((size, size), bool)
    for _ in range(60):
        y, x, r = *rng.uniform(0, size, 2), rng.uniform(4, 9)
        turn, squeeze, g = rng.uniform(0, np.pi), rng.uniform(0.75, 1), rng.uniform(0.55, 0.72)
        u = ((xx - x) * np.cos(turn) + (yy - y) * np.sin(turn)) / r
        v = (-(xx - x) * np.sin(turn) + (yy - y) * np.cos(turn)) / (r * squeeze)
        distance = np.sqrt(u**2 + v**2)
        if ((distance < 1.1) & (myelin | axon)).any():
            continue
        sheath, inner = (distance < 1) & (distance >= g), distance < g
        image[sheath] = rng.uniform(0.12, 0.25)
        image[inner] = rng.uniform(0.5, 0.85)
        myelin, axon = myelin | sheath, axon | inner
    return gaussian_filter(image, 0.7) + rng.normal(0, 0.05, image.shape), myelin, axon


def write_dataset(root, params):
    """sub-XX/micr images, and the manual masks under derivatives/labels."""
    rng = np.random.default_rng(40)
    for number in range(1, params["subjects"] + 1):
        subject = f"sub-{number:02d}"
        image, myelin, axon = nerve(rng, params["size"])
        stem = f"{subject}_{params['contrast']}"
        micr, labels = root / subject / "micr", root / "derivatives" / "labels" / subject / "micr"
        micr.mkdir(parents=True)
        labels.mkdir(parents=True)
        np.save(micr / f"{stem}.npy", image.astype(np.float32))
        np.save(labels / f"{stem}_seg-myelin-manual.npy", myelin)
        np.save(labels / f"{stem}_seg-axon-manual.npy", axon)


class BidsDataframe:
    """One row a subject: its image and its derivatives."""

    def __init__(self, root, params):
        self.rows = []
        for image in sorted(Path(root).glob(f"sub-*/micr/*_{params['contrast']}.npy")):
            subject = image.name.split("_")[0]
            folder = Path(root) / "derivatives" / "labels" / subject / "micr"
            self.rows.append({"subject": subject, "filename": image, "derivatives": sorted(folder.glob("*.npy"))})

    def split(self, sizes):
        ends = np.cumsum(sizes)
        return [self.rows[end - size : end] for size, end in zip(sizes, ends)]


class SegmentationDataset(Dataset):
    def __init__(self, rows, target_suffix, train):
        self.train = train
        self.samples = []
        for row in rows:
            image = np.load(row["filename"])
            masks = []
            for suffix in target_suffix:
                masks += [np.load(name) for name in row["derivatives"] if name.stem.endswith(suffix)]
            image = (image - image.mean()) / image.std()
            self.samples.append((torch.from_numpy(image)[None], torch.from_numpy(np.stack(masks)).float()))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        image, target = self.samples[index]
        if self.train:
            turns = int(torch.randint(4, ()))
            image, target = torch.rot90(image, turns, (1, 2)), torch.rot90(target, turns, (1, 2))
            if torch.rand(()) < 0.5:
                image, target = image.flip(-1), target.flip(-1)
        return image, target
