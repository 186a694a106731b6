# %% Knee slices from undersampled k-space: a small U-Net on zero-filled magnitude images, then reconstruction of volumes
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE, CENTRE, ACCELERATION = 32, 6, 4
torch.manual_seed(11)


# %% phantom volumes and their k-space
def knee_volume(rng, slices):
    """Femur, tibia, muscle and cartilage as smooth blobs; scanner units differ from volume to volume."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    gain = rng.uniform(120, 400)
    centres = rng.uniform(-0.06, 0.06, (6, 2))
    volume = []
    for z in np.linspace(-1, 1, slices):
        image = 0.35 * (np.hypot(x / 0.44, y / 0.46) < 1)
        for k, (cy, cx, ry, rx, level) in enumerate([(-0.2, 0, 0.17, 0.2, 0.5), (0.24, 0, 0.15, 0.19, 0.45), (0.02, 0, 0.03, 0.22, 0.8),
                                                     (0.0, -0.33, 0.2, 0.05, -0.15), (-0.02, 0.33, 0.2, 0.05, -0.2), (0.0, 0.1, 0.05, 0.02, 0.4)]):
            dy, dx = centres[k]
            shrink = 1 - 0.3 * abs(z)
            image = image + level * (np.hypot((x - cx - dx) / (rx * shrink), (y - cy - dy) / (ry * shrink)) < 1)
        texture = 1 + 0.08 * np.cos(rng.uniform(20, 60) * x + rng.uniform(0, 6)) * np.cos(rng.uniform(20, 60) * y)
        volume.append(gain * np.clip(image, 0, None) * texture)
    return np.stack(volume)


def to_kspace(image):
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image, dim=(-2, -1)), norm="ortho"), dim=(-2, -1))


def to_image(kspace):
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=(-2, -1)), norm="ortho"), dim=(-2, -1)).abs()


def column_mask(rng):
    mask = rng.random(SIZE) < (SIZE / ACCELERATION - CENTRE) / (SIZE - CENTRE)
    mask[SIZE // 2 - CENTRE // 2 : SIZE // 2 + CENTRE // 2] = True
    return torch.from_numpy(mask)


class Slices(Dataset):
    """Zero-filled image and target, both normalised with the mean and deviation of the zero-filled image."""

    def __init__(self, volumes, seed):
        rng = np.random.default_rng(seed)
        self.entries = []
        for number in range(volumes):
            target = torch.tensor(knee_volume(rng, 4), dtype=torch.float32)
            noise = torch.complex(torch.randn(target.shape), torch.randn(target.shape)) * target.mean() * 0.05
            zero_filled = to_image((to_kspace(target) + noise) * column_mask(rng))
            for image, full in zip(zero_filled, target):
                mean, std = image.mean(), image.std()
                self.entries.append(((image[None] - mean) / std, (full[None] - mean) / std, mean, std, number))

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, index):
        return self.entries[index]


# %% network
class UNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        def block(a, b):
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.InstanceNorm2d(b), nn.LeakyReLU(0.2), nn.Conv2d(b, b, 3, padding=1), nn.LeakyReLU(0.2))
        self.down, self.bottom, self.up = block(1, width), block(width, 2 * width), block(3 * width, width)
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        skip = self.down(x)
        deep = F.interpolate(self.bottom(F.avg_pool2d(skip, 2)), scale_factor=2, mode="bilinear", align_corners=False)
        return x + self.last(self.up(torch.cat([skip, deep], 1)))


# %% figures of a volume
def nmse(target, output):
    return ((target - output) ** 2).sum() / (target**2).sum()


def psnr(target, output):
    return 10 * torch.log10(target.max() ** 2 / ((target - output) ** 2).mean())


def ssim(target, output, window=5):
    top = target.max()
    c1, c2 = (0.01 * top) ** 2, (0.03 * top) ** 2
    a, b = target[:, None], output[:, None]
    mean_a, mean_b = F.avg_pool2d(a, window, 1), F.avg_pool2d(b, window, 1)
    var_a, var_b = F.avg_pool2d(a * a, window, 1) - mean_a**2, F.avg_pool2d(b * b, window, 1) - mean_b**2
    cov = F.avg_pool2d(a * b, window, 1) - mean_a * mean_b
    return ((2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


# %% training
train_set, test_set = Slices(48, 1), Slices(12, 2)
loader = DataLoader(train_set, batch_size=12, shuffle=True)
model = UNet()
epochs = 8
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
for epoch in range(epochs):
    model.train()
    losses = []
    for image, target, _, _, _ in loader:
        loss = F.l1_loss(model(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    scheduler.step()
    print(f"epoch {epoch + 1}: L1 {np.mean(losses):.4f} (normalised)")


# %% reconstruction of the test volumes in scanner units
@torch.no_grad()
def reconstruct(model, loader):
    model.eval()
    outputs, targets = {}, {}
    for image, target, mean, std, number in loader:
        mean, std = mean[:, None, None], std[:, None, None]
        output = model(image).squeeze(1)
        output = (output * std + mean).cpu()
        full = target.squeeze(1) * std + mean
        for i, n in enumerate(number.tolist()):
            outputs.setdefault(n, []).append(output[i])
            targets.setdefault(n, []).append(full[i])
    return {n: torch.stack(s) for n, s in outputs.items()}, {n: torch.stack(s) for n, s in targets.items()}


outputs, targets = reconstruct(model, DataLoader(test_set, batch_size=24))
for name, figure in (("NMSE", nmse), ("PSNR", psnr), ("SSIM", ssim)):
    print(f"{name} {np.mean([figure(targets[n], outputs[n]).item() for n in targets]):.4f}")
