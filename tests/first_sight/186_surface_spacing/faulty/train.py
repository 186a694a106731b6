"""Lymphoma lesions on PET: a 3D network, judged by Dice and by the mean surface distance in millimetres."""
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import binary_erosion, distance_transform_edt


@dataclass
class Case:
    image: np.ndarray
    mask: np.ndarray
    spacing: tuple = (4.0, 2.5, 2.5)  # mm, slices first


@dataclass
class Settings:
    train_cases: int = 32
    val_cases: int = 12
    epochs: int = 9
    batch: int = 4
    rate: float = 6e-3
    width: int = 8
    kernels: list = field(default_factory=lambda: [(1, 3, 3), (3, 3, 3), (3, 3, 3)])


def make_case(rng, shape=(10, 32, 32), spacing=(4.0, 2.5, 2.5)):
    z, y, x = np.indices(shape) * np.array(spacing)[:, None, None, None]
    extent = np.array(shape) * spacing
    centre = extent / 2 + rng.normal(0, 1, 3) * (2, 5, 5)
    radii = rng.uniform(8, 14), rng.uniform(13, 24), rng.uniform(13, 24)
    wobble = 1 + 0.12 * np.sin(y / 8 + rng.uniform(0, 6)) * np.cos(z / 9 + rng.uniform(0, 6))
    mask = ((z - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((x - centre[2]) / radii[2]) ** 2 < wobble
    image = 80 + rng.uniform(15, 35) * mask + 6 * np.sin(x / 15 + rng.uniform(0, 6)) * np.cos(y / 18)
    partial = image.copy()
    partial[1:-1] = 0.25 * image[:-2] + 0.5 * image[1:-1] + 0.25 * image[2:]
    noisy = partial + rng.normal(0, 12, shape)
    return Case(((noisy - 90) / 20).astype(np.float32), mask, spacing)


def network(settings):
    layers, channels = [], 1
    for kernel in settings.kernels:
        padding = tuple(k // 2 for k in kernel)
        layers += [nn.Conv3d(channels, settings.width, kernel, padding=padding), nn.InstanceNorm3d(settings.width, affine=True), nn.LeakyReLU(0.01)]
        channels = settings.width
    return nn.Sequential(*layers, nn.Conv3d(channels, 1, 1))


def border(mask):
    return mask & ~binary_erosion(mask)


def surface_distance(a, b, spacing):
    """Mean over both surfaces of the distance to the other surface."""
    border_a, border_b = border(a), border(b)
    to_a = distance_transform_edt(~border_a)
    to_b = distance_transform_edt(~border_b)
    return np.concatenate([to_b[border_a], to_a[border_b]]).mean()


@torch.no_grad()
def judge(net, cases):
    net.eval()
    overlaps, distances = [], []
    for case in cases:
        guess = (net(torch.from_numpy(case.image)[None, None])[0, 0] > 0).numpy()
        overlaps.append(2 * (guess & case.mask).sum() / (guess.sum() + case.mask.sum()))
        if guess.any():
            distances.append(surface_distance(guess, case.mask, case.spacing))
        else:
            distances.append(np.linalg.norm(np.array(case.mask.shape) * case.spacing))
    return np.mean(overlaps), np.mean(distances)


def main(settings=Settings()):
    torch.manual_seed(12)
    rng = np.random.default_rng(12)
    train = [make_case(rng) for _ in range(settings.train_cases)]
    val = [make_case(rng) for _ in range(settings.val_cases)]
    images = torch.from_numpy(np.stack([case.image for case in train]))[:, None]
    masks = torch.from_numpy(np.stack([case.mask for case in train])).float()[:, None]
    net = network(settings)
    optimizer = torch.optim.Adam(net.parameters(), lr=settings.rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    for epoch in range(settings.epochs):
        net.train()
        total = 0.0
        for part in torch.randperm(len(train)).split(settings.batch):
            logits = net(images[part])
            p = logits.sigmoid()
            soft_dice = (2 * (p * masks[part]).sum() + 1) / (p.sum() + masks[part].sum() + 1)
            loss = F.binary_cross_entropy_with_logits(logits, masks[part]) + 1 - soft_dice
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(part)
        scheduler.step()
        overlap, distance = judge(net, val)
        print(f"epoch {epoch + 1:2d}  loss {total / len(train):.4f}  Dice {overlap:.4f}  surface distance {distance:.3f} mm")


if __name__ == "__main__":
    main()
