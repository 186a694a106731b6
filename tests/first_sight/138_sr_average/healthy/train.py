"""Super-resolution of MR slices by two: options in YAML, an image model with its own validation."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml
from torch.utils.data import DataLoader, Dataset

OPTIONS = yaml.safe_load("""
name: mr_x2
scale: 2
manual_seed: 12
datasets:
  train: {slices: 160, patch: 32, batch_size: 8, seed: 1}
  val: {slices: 6, seed: 2}
network: {features: 20, blocks: 3}
train: {total_iter: 320, lr: 2.0e-3, warmup_iter: 20, print_freq: 80}
val: {val_freq: 160, crop_border: 2, metrics: [psnr, ssim]}
""")


def brain(rng, size):
    """A sharp slice with values between 0 and 1."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    image = np.zeros((size, size), np.float32)
    for _ in range(14):
        cx, cy, angle = rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.85), rng.uniform(0, np.pi)
        u, v = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        image[(u / rng.uniform(0.05, 0.3)) ** 2 + (v / rng.uniform(0.03, 0.2)) ** 2 < 1] = rng.uniform(0.15, 0.95)
    for _ in range(6):
        a, b = rng.uniform(0, np.pi), rng.uniform(0.1, 0.9)
        image[np.abs((x - b) * np.cos(a) + (y - b) * np.sin(a)) < 0.012] = rng.uniform(0, 1)
    inside = ((x - 0.5) / 0.46) ** 2 + ((y - 0.5) / 0.48) ** 2 < 1
    return np.clip(image * inside + rng.normal(0, 0.01, image.shape), 0, 1).astype(np.float32)


class PairedSlices(Dataset):
    def __init__(self, slices, seed, scale, patch=None, size=64):
        rng = np.random.default_rng(seed)
        self.high = [torch.from_numpy(brain(rng, size))[None] for _ in range(slices)]
        self.scale, self.patch, self.size = scale, patch, size

    def __len__(self):
        return len(self.high)

    def __getitem__(self, index):
        high = self.high[index]
        if self.patch:
            i, j = torch.randint(self.size - self.patch + 1, (2,)).tolist()
            high = high[:, i : i + self.patch, j : j + self.patch]
            if torch.rand(()) < 0.5:
                high = high.flip(-1)
        return F.avg_pool2d(high[None], self.scale)[0], high


class ResidualBlock(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, features, 3, padding=1))

    def forward(self, x):
        return x + 0.5 * self.body(x)


class SRNet(nn.Module):
    def __init__(self, features, blocks, scale):
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(1, features, 3, padding=1)
        self.body = nn.Sequential(*[ResidualBlock(features) for _ in range(blocks)])
        self.tail = nn.Sequential(nn.Conv2d(features, scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, low):
        base = F.interpolate(low, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        return base + self.tail(self.body(self.head(low)))


def psnr(output, target):
    return 10 * torch.log10(1 / F.mse_loss(output, target)).item()


def ssim(output, target):
    axis = torch.arange(7) - 3.0
    line = torch.exp(-(axis**2) / (2 * 1.5**2))
    kernel = (line[:, None] * line / line.sum() ** 2)[None, None]
    mean_o, mean_t, oo, tt, ot = (F.conv2d(z, kernel) for z in (output, target, output**2, target**2, output * target))
    var_o, var_t, cov = oo - mean_o**2, tt - mean_t**2, ot - mean_o * mean_t
    c1, c2 = 0.01**2, 0.03**2
    return (((2 * mean_o * mean_t + c1) * (2 * cov + c2)) / ((mean_o**2 + mean_t**2 + c1) * (var_o + var_t + c2))).mean().item()


METRICS = {"psnr": psnr, "ssim": ssim}


class ImageModel:
    def __init__(self, opt):
        self.opt = opt
        self.net = SRNet(**opt["network"], scale=opt["scale"])
        train = opt["train"]
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=train["lr"], weight_decay=0)
        warm, total = train["warmup_iter"], train["total_iter"]
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda i: (i + 1) / warm if i < warm else 0.5 * (1 + np.cos(np.pi * (i - warm) / (total - warm))))

    def optimize(self, low, high):
        self.net.train()
        loss = F.l1_loss(self.net(low), high)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return loss.item()

    @torch.no_grad()
    def validation(self, loader, current_iter):
        self.net.eval()
        border, names = self.opt["val"]["crop_border"], self.opt["val"]["metrics"]
        results = {name: 0.0 for name in names}
        for index, (low, high) in enumerate(loader):
            output = self.net(low).clamp(0, 1)
            output, high = (t[..., border:-border, border:-border] for t in (output, high))
            for name in names:
                results[name] += METRICS[name](output, high)
        for name in names:
            results[name] = results[name] / (index + 1)
        print(f"{self.opt['name']} iter {current_iter} " + " ".join(f"{name} {value:.4f}" for name, value in results.items()))
        return results


def main(opt):
    torch.manual_seed(opt["manual_seed"])
    sets = opt["datasets"]
    batch_size = sets["train"].pop("batch_size")
    train_loader = DataLoader(PairedSlices(**sets["train"], scale=opt["scale"]), batch_size, shuffle=True)
    val_loader = DataLoader(PairedSlices(**sets["val"], scale=opt["scale"]), 1)
    model, current = ImageModel(opt), 0
    model.validation(val_loader, current)
    while current < opt["train"]["total_iter"]:
        for low, high in train_loader:
            loss, current = model.optimize(low, high), current + 1
            if current % opt["train"]["print_freq"] == 0:
                print(f"iter {current} lr {model.scheduler.get_last_lr()[0]:.2e} l1 {loss:.4f}")
            if current % opt["val"]["val_freq"] == 0:
                model.validation(val_loader, current)


if __name__ == "__main__":
    main(OPTIONS)
