"""Low-dose CT to full dose: a residual CNN, trained by iterations, options in train.yaml."""
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import yaml
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset

from metrics import calculate_psnr
from metrics.psnr import to_image

SIZE = 64


def phantom(rng):
    """A slice of the chest in 0..1: body, lungs, spine, vessels."""
    yy, xx = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    image = np.zeros((SIZE, SIZE))
    image[(yy / rng.uniform(22, 27)) ** 2 + (xx / rng.uniform(27, 31)) ** 2 < 1] = 0.55
    for side in (-1, 1):
        cx, a, b = side * rng.uniform(12, 14), rng.uniform(9, 11), rng.uniform(14, 18)
        lung = ((xx - cx) / a) ** 2 + (yy / b) ** 2 < 1
        image[lung] = 0.15
        for _ in range(10):
            x, y, r = cx + rng.normal(0, 5), rng.normal(0, 8), rng.uniform(0.8, 2.2)
            image[lung & ((xx - x) ** 2 + (yy - y) ** 2 < r * r)] = 0.6
    image[(yy - 17) ** 2 + xx**2 < rng.uniform(9, 16)] = 0.95
    return gaussian_filter(image, 0.6)


def low_dose(image, rng):
    """Streaky noise, stronger where the body is thick."""
    noise = gaussian_filter(rng.normal(0, 1, image.shape), (0.3, 0.9))
    return image + 0.17 * noise / noise.std() * (0.6 + image)


class PairedCT(Dataset):
    def __init__(self, count, seed, patch=None):
        rng = np.random.default_rng(seed)
        full = [phantom(rng) for _ in range(count)]
        self.pairs = [(torch.from_numpy(low_dose(f, rng)).float()[None], torch.from_numpy(f).float()[None]) for f in full]
        self.patch = patch

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        lq, gt = self.pairs[i]
        if self.patch:
            top, left = torch.randint(0, SIZE - self.patch + 1, (2,)).tolist()
            lq, gt = (t[:, top:top + self.patch, left:left + self.patch] for t in (lq, gt))
            if torch.rand(()) < 0.5:
                lq, gt = lq.flip(2), gt.flip(2)
        return {"lq": lq, "gt": gt}


class ResidualNet(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        layers = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x):
        return x - self.body(x)


@torch.no_grad()
def validation(net, dataset, crop_border):
    """Mean PSNR of the input and of the output, and the mean absolute error of the output in grey levels."""
    net.eval()
    rows = []
    for sample in dataset:
        output = net(sample["lq"][None])[0]
        gt = to_image(sample["gt"])
        error = 255 * (output.clamp(0, 1) - sample["gt"]).abs().mean().item()
        rows.append((calculate_psnr(to_image(sample["lq"]), gt, crop_border), calculate_psnr(to_image(output), gt, crop_border), error))
    return np.mean(rows, 0)


def main():
    opt = yaml.safe_load(Path(__file__).with_name("train.yaml").read_text())
    torch.manual_seed(opt["manual_seed"])
    train = opt["datasets"]["train"]
    loader = DataLoader(PairedCT(train["count"], train["seed"], train["patch"]), train["batch_size"], shuffle=True)
    val_set = PairedCT(**opt["datasets"]["val"])
    net = ResidualNet(**opt["network"])
    optimizer = torch.optim.Adam(net.parameters(), opt["train"]["lr"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, opt["train"]["total_iter"], opt["train"]["eta_min"])
    criterion = nn.L1Loss()
    current, losses = 0, []
    while current < opt["train"]["total_iter"]:
        for batch in loader:
            net.train()
            loss = criterion(net(batch["lq"]), batch["gt"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
            current += 1
            if current % opt["val"]["freq"] == 0:
                before, after, error = validation(net, val_set, opt["val"]["crop_border"])
                print(f"iter {current} l1 {np.mean(losses):.4f} val PSNR input {before:.2f} dB, output {after:.2f} dB, mean error {error:.1f}")
                losses = []
    torch.save({"params": net.state_dict(), "opt": opt}, f"{opt['name']}.pth")


if __name__ == "__main__":
    main()
