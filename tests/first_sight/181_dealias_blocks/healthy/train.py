# Undersampled MRI (every third line and the centre of k-space): a residual network removes the aliasing.
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

cfg = dict(size=32, train=192, val=40, batch=16, epochs=7, lr=3e-3, channels=16, dilations=(1, 2, 4, 8, 4, 1), seed=2)


def head_slice(rng, size):
    y, x = np.mgrid[-1:1:size * 1j, -1:1:size * 1j]
    a, b = rng.uniform(0.65, 0.8), rng.uniform(0.75, 0.9)
    radius = np.sqrt((x / a) ** 2 + (y / b) ** 2)
    image = 0.9 * ((radius < 1) & (radius > 0.9)) + 0.45 * (radius <= 0.9)
    for _ in range(rng.integers(4, 8)):
        cx, cy = rng.uniform(-0.45, 0.45, 2)
        rx, ry, turn = rng.uniform(0.06, 0.28), rng.uniform(0.06, 0.28), rng.uniform(0, np.pi)
        u, v = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn), (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        image = image + rng.uniform(-0.25, 0.35) * ((u / rx) ** 2 + (v / ry) ** 2 < 1)
    return np.clip(image, 0, 1.3)


def undersample(image, rng):
    lines = np.zeros(len(image), bool)
    lines[::3] = True
    middle = len(image) // 2
    lines[middle - 3:middle + 3] = True
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image)))
    k = k + rng.normal(0, 0.3, k.shape) + 1j * rng.normal(0, 0.3, k.shape)
    return np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k * lines[:, None]))))


def dataset(count, seed):
    rng = np.random.default_rng(seed)
    full = np.stack([head_slice(rng, cfg["size"]) for _ in range(count)])
    aliased = np.stack([undersample(image, rng) for image in full])
    return TensorDataset(*(torch.tensor(a, dtype=torch.float32)[:, None] for a in (aliased, full)))


class Residual(nn.Module):
    def __init__(self, channels, dilation):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x):
        return x + 0.5 * self.inner(x)


class Dealias(nn.Module):
    def __init__(self, channels, dilations):
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.ModuleList(Residual(channels, d) for d in dilations)
        self.last = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x):
        features = self.stem(x)
        h = features
        for block in self.blocks:
            h = block(h)
        return x + self.last(torch.relu(h + features))


def psnr(guess, truth):
    mse = (guess - truth).pow(2).mean((1, 2, 3))
    return (10 * torch.log10(truth.amax((1, 2, 3)) ** 2 / mse)).mean().item()


torch.manual_seed(cfg["seed"])
train = DataLoader(dataset(cfg["train"], 10), cfg["batch"], shuffle=True)
aliased_val, full_val = dataset(cfg["val"], 11).tensors
model = Dealias(cfg["channels"], cfg["dilations"])
optimizer = torch.optim.Adam(model.parameters(), lr=cfg["lr"])
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg["epochs"] * len(train))
print(f"{sum(p.numel() for p in model.parameters())} weights, zero-filled {psnr(aliased_val, full_val):.2f} dB")
for epoch in range(1, cfg["epochs"] + 1):
    model.train()
    total = 0.0
    for aliased, full in train:
        loss = nn.functional.l1_loss(model(aliased), full)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        quality = psnr(model(aliased_val), full_val)
    print(f"epoch {epoch}: L1 {total / len(train):.4f}, validation {quality:.2f} dB")
