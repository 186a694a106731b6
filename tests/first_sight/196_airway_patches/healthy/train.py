"""Airways in CT volumes from patches: a queue of random patches for training, a grid of overlapping patches for inference."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset, IterableDataset

SHAPE = (36, 36, 28)
PATCH = (20, 20, 20)
OVERLAP = (8, 8, 8)


def thorax(rng):
    """Lung parenchyma with a trunk that branches, labels of the lumen."""
    z, y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1], 0 : SHAPE[2]].astype(float)
    label = np.zeros(SHAPE, bool)
    start = np.array([0.0, rng.uniform(13, 23), rng.uniform(10, 18)])
    branches = [(start, start + [rng.uniform(10, 16), rng.normal(0, 2), rng.normal(0, 2)], rng.uniform(2.4, 3.0))]
    for _ in range(5):
        _, tip, radius = branches[rng.integers(len(branches))]
        step = np.array([rng.uniform(6, 16), rng.normal(0, 9), rng.normal(0, 7)])
        branches.append((tip, tip + step, max(1.5, 0.8 * radius)))
    for a, b, radius in branches:
        d = b - a
        t = np.clip(((z - a[0]) * d[0] + (y - a[1]) * d[1] + (x - a[2]) * d[2]) / (d @ d), 0, 1)
        label |= (z - a[0] - t * d[0]) ** 2 + (y - a[1] - t * d[1]) ** 2 + (x - a[2] - t * d[2]) ** 2 < radius**2
    image = -0.6 - 0.4 * gaussian_filter(label.astype(float), 0.6) + gaussian_filter(rng.normal(0, 1.2, SHAPE), 2) + rng.normal(0, 0.06, SHAPE)
    return {"image": torch.tensor((image + 0.65) / 0.2, dtype=torch.float32)[None], "label": torch.tensor(label[None])}


class PatchQueue(IterableDataset):
    """Random patches of all subjects, half of them centred on the lumen."""

    def __init__(self, subjects, length, seed):
        self.subjects, self.length = subjects, length
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return self.length

    def __iter__(self):
        for n in range(self.length):
            subject = self.subjects[self.rng.integers(len(self.subjects))]
            room = np.array(SHAPE) - PATCH
            corner = self.rng.integers(0, room + 1)
            if n % 2:
                lumen = subject["label"][0].nonzero().numpy()
                corner = np.clip(lumen[self.rng.integers(len(lumen))] - np.array(PATCH) // 2, 0, room)
            where = (slice(None), *(slice(c, c + p) for c, p in zip(corner, PATCH)))
            yield subject["image"][where], subject["label"][where].float()


class PatchGrid(Dataset):
    """All patches of a volume with at least the given overlap; the last ones are moved back to end with the volume."""

    def __init__(self, image):
        self.image = image
        starts = []
        for size, patch, overlap in zip(SHAPE, PATCH, OVERLAP):
            last = size - patch
            starts.append(sorted({min(s, last) for s in range(0, last + patch - overlap, patch - overlap)}))
        self.corners = [(i, j, k) for i in starts[0] for j in starts[1] for k in starts[2]]

    def __len__(self):
        return len(self.corners)

    def __getitem__(self, index):
        corner = self.corners[index]
        return self.image[(slice(None), *(slice(c, c + p) for c, p in zip(corner, PATCH)))], torch.tensor(corner)


class PatchAggregator:
    """Puts predicted patches back; half of the overlap is cut off wherever the patch does not touch the border of the volume."""

    def __init__(self, channels=1):
        self.output = torch.zeros(channels, *SHAPE)

    def add_batch(self, patches, corners):
        for patch, corner in zip(patches, corners.numpy()):
            border = np.array(OVERLAP) // 2
            first, last = corner.copy(), corner + PATCH
            cut_first, cut_last = np.where(first == 0, 0, border), np.where(last == SHAPE, 0, border)
            first, last = first + cut_first, last - cut_last
            left = cut_first
            right = left + (last - first)
            piece = patch[(slice(None), *(slice(a, b) for a, b in zip(left, right)))]
            self.output[(slice(None), *(slice(a, b) for a, b in zip(first, last)))] = piece


class Net(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        def block(a, b):
            return nn.Sequential(nn.Conv3d(a, b, 3, padding=1), nn.InstanceNorm3d(b, affine=True), nn.LeakyReLU(0.1), nn.Conv3d(b, b, 3, padding=1), nn.LeakyReLU(0.1))
        self.down, self.deep, self.up, self.out = block(1, width), block(width, 2 * width), block(3 * width, width), nn.Conv3d(width, 1, 1)

    def forward(self, x):
        a = self.down(x)
        b = F.interpolate(self.deep(F.max_pool3d(a, 2)), scale_factor=2, mode="trilinear", align_corners=False)
        return self.out(self.up(torch.cat([a, b], 1)))


def dice(p, t):
    return ((2 * (p & t).sum() + 1) / (p.sum() + t.sum() + 1)).item()


@torch.no_grad()
def infer(model, subject):
    model.eval()
    aggregator = PatchAggregator()
    for patches, corners in DataLoader(PatchGrid(subject["image"]), batch_size=9):
        aggregator.add_batch(model(patches), corners)
    return aggregator.output > 0


def main():
    torch.manual_seed(2)
    rng = np.random.default_rng(7)
    train_subjects, val_subjects = [thorax(rng) for _ in range(8)], [thorax(rng) for _ in range(3)]
    loader = DataLoader(PatchQueue(train_subjects, 48, 5), batch_size=4)
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    epochs = 4
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        model.train()
        losses, scores = [], []
        for image, label in loader:
            logits = model(image)
            p = logits.sigmoid()
            loss = F.binary_cross_entropy_with_logits(logits, label) + 1 - (2 * (p * label).sum() + 1) / (p.sum() + label.sum() + 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            scores.append(dice(logits > 0, label > 0))
        scheduler.step()
        print(f"epoch {epoch} loss {np.mean(losses):.4f} patch dice {np.mean(scores):.4f}")
    final = [dice(infer(model, s), s["label"]) for s in val_subjects]
    print("volumes: " + " ".join(f"{d:.4f}" for d in final) + f" mean {np.mean(final):.4f}")


if __name__ == "__main__":
    main()
