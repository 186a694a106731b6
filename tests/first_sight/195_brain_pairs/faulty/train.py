"""Deformable registration of brain slices between patients, unsupervised; overlap of the ventricles and the cortex as a check."""
import argparse

import nibabel as nib
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset

SIZE, SLICES = 40, 4


def patient(rng):
    """NIfTI images of a T1 volume (scanner units, stored as 16 bit integers) and of its labels."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    gain = rng.uniform(500, 900)
    shift = gaussian_filter(rng.normal(0, 1, (2, SIZE, SIZE)), (0, 6, 6))
    shift = shift / np.abs(shift).max() * rng.uniform(2.0, 3.5)
    v, u = y - SIZE / 2 + 0.5 + shift[0], x - SIZE / 2 + 0.5 + shift[1]
    t1, labels = np.zeros((SIZE, SIZE, SLICES)), np.zeros((SIZE, SIZE, SLICES), np.uint8)
    for z in range(SLICES):
        scale = 1 - 0.06 * z
        head = np.hypot(u / (15.5 * scale), v / (17.5 * scale))
        label = np.zeros((SIZE, SIZE), np.uint8)
        label[head < 1] = 1
        label[head < 0.78] = 2
        label[np.hypot((np.abs(u) - 3.5) / 2.6, v / (6.5 * scale)) < 1] = 3
        image = np.array([0.0, 0.6, 1.0, 0.3])[label] + 0.05 * (head < 1) * np.cos(u / 2) * np.cos(v / 3)
        t1[..., z] = gain * np.clip(gaussian_filter(image, 0.6) + rng.normal(0, 0.03, image.shape), 0, None)
        labels[..., z] = label
    affine = np.diag([4.0, 4.0, 8.0, 1.0])
    return nib.Nifti1Image(t1.astype(np.int16), affine), nib.Nifti1Image(labels, affine)


def to_unit_range(volume, low=0.5, high=99.5):
    """Intensities between two percentiles are spread over 0 to 1."""
    bottom, top = np.percentile(volume, [low, high])
    scaled = np.zeros_like(volume)
    scaled[...] = (np.clip(volume, bottom, top) - bottom) / (top - bottom)
    return scaled


class Pairs(Dataset):
    """Slices at the same height of two different patients: moving, fixed and their labels."""

    def __init__(self, patients, pairs, seed):
        rng = np.random.default_rng(seed)
        loaded = []
        for t1, labels in (patient(rng) for _ in range(patients)):
            volume, parts = np.asanyarray(t1.dataobj), np.asanyarray(labels.dataobj)
            loaded.append((to_unit_range(volume), parts))
        self.items = []
        for _ in range(pairs):
            a, b = rng.choice(patients, 2, replace=False)
            z = rng.integers(SLICES)
            arrays = loaded[a][0][..., z], loaded[b][0][..., z], loaded[a][1][..., z], loaded[b][1][..., z]
            self.items.append([torch.tensor(np.ascontiguousarray(s), dtype=torch.float32)[None] for s in arrays])

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class FlowNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        def block(a, b, stride=1):
            return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.LeakyReLU(0.2))
        self.d1, self.d2, self.d3 = block(2, width), block(width, 2 * width, 2), block(2 * width, 2 * width, 2)
        self.u2, self.u1 = block(4 * width, 2 * width), block(3 * width, width)
        self.flow = nn.Conv2d(width, 2, 3, padding=1)
        nn.init.normal_(self.flow.weight, 0, 1e-4)
        nn.init.zeros_(self.flow.bias)

    def forward(self, moving, fixed):
        a = self.d1(torch.cat([moving, fixed], 1))
        b = self.d2(a)
        c = self.d3(b)
        b = self.u2(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        return self.flow(self.u1(torch.cat([F.interpolate(b, scale_factor=2), a], 1)))


def warp(image, flow, mode="bilinear"):
    """Samples the image at every pixel plus flow, flow in pixels as (x, y)."""
    h, w = image.shape[-2:]
    v, u = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    x, y = u + flow[:, 0], v + flow[:, 1]
    grid = torch.stack([2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1], -1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)


def smoothness(flow):
    return (flow[..., 1:, :] - flow[..., :-1, :]).pow(2).mean() + (flow[..., 1:] - flow[..., :-1]).pow(2).mean()


@torch.no_grad()
def label_dice(model, loader):
    before, after = [], []
    for moving, fixed, moving_label, fixed_label in loader:
        moved = warp(moving_label, model(moving, fixed), mode="nearest")
        for k in (1, 3):
            for scores, candidate in ((before, moving_label), (after, moved)):
                a, b = candidate == k, fixed_label == k
                scores.append((2 * (a & b).sum() / (a.sum() + b.sum()).clamp(min=1)).item())
    return np.mean(before), np.mean(after)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--smooth", type=float, default=0.01)
    args = parser.parse_args()
    torch.manual_seed(0)
    train_loader = DataLoader(Pairs(30, 128, 1), args.batch_size, shuffle=True)
    val_loader = DataLoader(Pairs(12, 36, 2), 18)
    model = FlowNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        sums = np.zeros(2)
        for moving, fixed, _, _ in train_loader:
            flow = model(moving, fixed)
            similarity, rough = F.mse_loss(warp(moving, flow), fixed), smoothness(flow)
            loss = similarity + args.smooth * rough
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sums += similarity.item(), rough.item()
        a, b = sums / len(train_loader)
        before, after = label_dice(model, val_loader)
        print(f"epoch {epoch} mse {a:.5f} rough {b:.4f} | label Dice {before:.4f} -> {after:.4f}")


if __name__ == "__main__":
    main()
