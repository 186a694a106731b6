"""Tissue motion between two echocardiographic frames, estimated by a small correlation network."""
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy import ndimage
from torch.utils.data import DataLoader, Dataset

SIZE, CROP, REACH = 52, 32, 4


def make_pair(rng):
    """Speckle that is carried along by a smooth displacement; the flow maps the first frame to the second."""
    rows, cols = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    y, x = (rows - SIZE / 2) / SIZE, (cols - SIZE / 2) / SIZE
    shift = rng.uniform(-3, 3, 2)
    strain = rng.normal(0, 1.5, (2, 2))
    flow = np.stack([shift[0] + strain[0, 0] * x + strain[0, 1] * y, shift[1] + strain[1, 0] * x + strain[1, 1] * y], -1)
    speckle = ndimage.gaussian_filter(rng.normal(0, 1, (SIZE + 24, SIZE + 24)), 1.1)
    speckle /= speckle.std()
    second = speckle[12:12 + SIZE, 12:12 + SIZE]
    first = ndimage.map_coordinates(speckle, [rows + 12 + flow[..., 1], cols + 12 + flow[..., 0]], order=1)
    noise = rng.normal(0, 0.1, (2, SIZE, SIZE))
    return [first + noise[0], second + noise[1]], flow


class Compose:
    def __init__(self, co_transforms):
        self.co_transforms = co_transforms

    def __call__(self, inputs, target):
        for t in self.co_transforms:
            inputs, target = t(inputs, target)
        return inputs, target


class RandomRotate:
    """Rotates both frames by a common random angle between -angle and angle (degrees)."""

    def __init__(self, angle, order=1):
        self.angle, self.order = angle, order

    def __call__(self, inputs, target):
        angle = random.uniform(-self.angle, self.angle)
        inputs = [ndimage.rotate(frame, angle, reshape=False, order=self.order) for frame in inputs]
        rotated = ndimage.rotate(target, angle, reshape=False, order=self.order)
        radians = np.deg2rad(angle)
        target = np.empty_like(rotated)
        target[..., 0] = np.cos(radians) * rotated[..., 0] + np.sin(radians) * rotated[..., 1]
        target[..., 1] = -np.sin(radians) * rotated[..., 0] + np.cos(radians) * rotated[..., 1]
        return inputs, target


class RandomHorizontalFlip:
    def __call__(self, inputs, target):
        if random.random() < 0.5:
            inputs = [np.fliplr(frame) for frame in inputs]
            target = np.fliplr(target) * np.array([-1, 1])
        return inputs, target


class CenterCrop:
    def __init__(self, size):
        self.size = size

    def __call__(self, inputs, target):
        start = (SIZE - self.size) // 2
        window = slice(start, start + self.size)
        return [frame[window, window] for frame in inputs], target[window, window]


class EchoPairs(Dataset):
    def __init__(self, count, seed, transform):
        rng = np.random.default_rng(seed)
        self.items = [make_pair(rng) for _ in range(count)]
        self.transform = transform

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        inputs, target = self.transform(*self.items[index])
        frames = torch.tensor(np.stack(inputs), dtype=torch.float32)
        return frames, torch.tensor(np.ascontiguousarray(target.transpose(2, 0, 1)), dtype=torch.float32)


class MotionNet(nn.Module):
    def __init__(self, features=8):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, features, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(features, features, 3, padding=1))
        self.decoder = nn.Sequential(
            nn.Conv2d((2 * REACH + 1) ** 2, 48, 3, padding=1), nn.LeakyReLU(0.1),
            nn.Conv2d(48, 32, 3, stride=2, padding=1), nn.LeakyReLU(0.1),
            nn.Conv2d(32, 32, 3, padding=2, dilation=2), nn.LeakyReLU(0.1), nn.Conv2d(32, 2, 3, padding=1),
        )

    def correlate(self, a, b):
        height, width = a.shape[-2:]
        padded = F.pad(b, [REACH] * 4)
        shifts = [(i, j) for i in range(2 * REACH + 1) for j in range(2 * REACH + 1)]
        return torch.stack([(a * padded[..., i:i + height, j:j + width]).mean(1) for i, j in shifts], 1)

    def forward(self, frames):
        a, b = self.features(frames[:, :1]), self.features(frames[:, 1:])
        flow = self.decoder(self.correlate(F.normalize(a, dim=1) * 4, F.normalize(b, dim=1) * 4))
        return F.interpolate(flow, size=frames.shape[-2:], mode="bilinear", align_corners=False)


def end_point_error(output, target):
    return torch.norm(output - target, dim=1).mean()


@torch.no_grad()
def validate(loader, model):
    model.eval()
    errors = [end_point_error(model(frames), target).item() for frames, target in loader]
    still = [target.norm(dim=1).mean().item() for _, target in loader]
    return np.mean(errors), np.mean(still)


def main():
    random.seed(3)
    torch.manual_seed(3)
    train_transform = Compose([RandomRotate(60), RandomHorizontalFlip(), CenterCrop(CROP)])
    train_loader = DataLoader(EchoPairs(260, 1, train_transform), batch_size=10, shuffle=True)
    val_loader = DataLoader(EchoPairs(40, 2, CenterCrop(CROP)), batch_size=20)
    model = MotionNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[5, 7], gamma=0.4)
    best = float("inf")
    for epoch in range(1, 10):
        model.train()
        errors = []
        for frames, target in train_loader:
            loss = end_point_error(model(frames), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            errors.append(loss.item())
        scheduler.step()
        epe, still = validate(val_loader, model)
        if epe < best:
            best = epe
            torch.save(model.state_dict(), "model_best.pth")
        print(f"epoch {epoch:2d} train EPE {np.mean(errors):.3f} validation EPE {epe:.3f} (no motion {still:.3f})")
    print(f"best validation EPE {best:.3f}")


if __name__ == "__main__":
    main()
