"""Refractive error (dioptres) from fundus photographs; module with steps and a small fitting class."""
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class FundusRefraction(Dataset):
    """Short-sighted eyes (negative values) show a larger crescent beside the disc, thinner vessels, more choroid."""

    def __init__(self, count, seed, size=48):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        self.images = np.zeros((count, 3, size, size), np.float32)
        self.dioptres = np.clip(rng.normal(-0.6, 2.6, count), -8, 6).astype(np.float32)
        for k, error in enumerate(self.dioptres):
            grade = (error + 8) / 14
            cx, cy = 14 + rng.normal(0, 1), 24 + rng.normal(0, 1)
            choroid = (1 - grade) * 0.14 * np.sin((x + y * rng.uniform(0.5, 1)) / 2.2 + rng.uniform(0, 6))
            base = 0.5 + choroid + 0.05 * np.cos(x / 10 + rng.uniform(0, 6))
            disc = np.hypot(x - cx, y - cy) < 5
            crescent = (np.hypot(x - cx - 2.5 * (1 - grade), y - cy) < 4.5 + 4 * (1 - grade)) & ~disc
            base = np.where(crescent, base + 0.15, base)
            base = np.where(disc, 0.95, base)
            for bend in (-1, 1):
                for reach in (0.7, 1.2):
                    path = cy + bend * reach * np.sqrt(np.clip(x - cx, 0, None)) * 4
                    base = np.where((np.abs(y - path) < 0.5 + 0.9 * grade) & (x > cx), base - 0.22, base)
            colour = np.array([1.0, 0.6, 0.35])[:, None, None] * base
            self.images[k] = (colour + rng.normal(0, 0.04, colour.shape) - 0.35) / 0.25

    def __len__(self):
        return len(self.dioptres)

    def __getitem__(self, index):
        return torch.from_numpy(self.images[index]), torch.tensor(self.dioptres[index])


def convolution(inputs, outputs):
    return [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def dense(inputs, outputs):
    return [nn.Linear(inputs, outputs), nn.ReLU()]


class RefractionModule(nn.Module):
    def __init__(self, width=16, lr=2e-3):
        super().__init__()
        self.lr = lr
        self.backbone = nn.Sequential(
            *convolution(3, width), *convolution(width, 2 * width), *convolution(2 * width, 4 * width), nn.AdaptiveAvgPool2d(3), nn.Flatten()
        )
        self.regressor = nn.Sequential(*dense(36 * width, 64), *dense(64, 32), nn.Linear(32, 1))

    def forward(self, image):
        return self.regressor(self.backbone(image)).squeeze(1)

    def training_step(self, batch):
        image, dioptres = batch
        return F.smooth_l1_loss(self(image), dioptres)

    def validation_step(self, batch):
        image, dioptres = batch
        return self(image), dioptres

    def configure_optimizers(self, epochs):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=1e-3)
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)


class Fit:
    def __init__(self, epochs):
        self.epochs = epochs

    def __call__(self, module, train, val):
        optimizer, scheduler = module.configure_optimizers(self.epochs)
        for epoch in range(1, self.epochs + 1):
            module.train()
            losses = []
            for batch in train:
                loss = module.training_step(batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            scheduler.step()
            print(f"epoch {epoch:2d} train_loss {np.mean(losses):.4f} " + self.validate(module, val))

    @staticmethod
    @torch.no_grad()
    def validate(module, loader):
        module.eval()
        guess, truth = (torch.cat(part) for part in zip(*(module.validation_step(batch) for batch in loader)))
        r2 = 1 - (guess - truth).pow(2).sum() / (truth - truth.mean()).pow(2).sum()
        return f"val_mae {(guess - truth).abs().mean():.3f} D val_r2 {r2:.3f}"


if __name__ == "__main__":
    torch.manual_seed(21)
    train = DataLoader(FundusRefraction(480, 1), batch_size=24, shuffle=True)
    val = DataLoader(FundusRefraction(160, 2), batch_size=80)
    Fit(epochs=10)(RefractionModule(), train, val)
