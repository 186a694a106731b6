"""SRGAN for thick CT: x2 in plane.

python train.py --epochs 12 --lr 0.001
"""
import argparse
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def phantoms(n, size, gen):
    """Ellipses and thin lines in [0, 1], drawn at twice the size."""
    axis = torch.linspace(-1, 1, 2 * size)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    out = []
    for _ in range(n):
        image = torch.zeros(2 * size, 2 * size)
        for _ in range(6):
            u = torch.rand(6, generator=gen)
            a = 3.14 * u[5]
            dy, dx = yy - (1.4 * u[0] - 0.7), xx - (1.4 * u[1] - 0.7)
            ry, rx = dy * torch.cos(a) + dx * torch.sin(a), dx * torch.cos(a) - dy * torch.sin(a)
            image[(ry / (0.08 + 0.5 * u[2])) ** 2 + (rx / (0.08 + 0.3 * u[3])) ** 2 < 1] = u[4]
        for _ in range(2):
            u = torch.rand(3, generator=gen)
            image[(torch.cos(3.14 * u[0]) * yy + torch.sin(3.14 * u[0]) * xx - (u[1] - 0.5)).abs() < 0.03] = 0.9
        out.append(image)
    return F.avg_pool2d(torch.stack(out)[:, None], 2)


class ResidualBlock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(ch, ch, 3, padding=1), nn.PReLU(), nn.Conv2d(ch, ch, 3, padding=1))

    def forward(self, x):
        return x + self.body(x)


class Generator(nn.Module):
    def __init__(self, ch=16, blocks=3):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(1, ch, 5, padding=2), nn.PReLU())
        self.body = nn.Sequential(*[ResidualBlock(ch) for _ in range(blocks)])
        self.tail = nn.Sequential(nn.Conv2d(ch, 4 * ch, 3, padding=1), nn.PixelShuffle(2), nn.PReLU(), nn.Conv2d(ch, 1, 5, padding=2))

    def forward(self, x):
        h = self.head(x)
        return self.tail(h + self.body(h)) + F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)


class Discriminator(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, ch, 3, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(ch, 2 * ch, 3, 2, 1), nn.BatchNorm2d(2 * ch), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * ch, 2 * ch, 3, 2, 1), nn.BatchNorm2d(2 * ch), nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * ch, 1))

    def forward(self, x):
        return self.net(x)


def psnr(a, b):
    return (-10 * torch.log10(((a - b) ** 2).mean((1, 2, 3)))).mean().item()


@torch.no_grad()
def validate(generator, loader):
    generator.eval()
    ours, cubic = [], []
    for lr, hr in loader:
        ours.append(psnr(generator(lr).clamp(0, 1), hr))
        cubic.append(psnr(F.interpolate(lr, scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1), hr))
    generator.train()
    return sum(ours) / len(ours), sum(cubic) / len(cubic)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--image-size", type=int, default=40)
    args = parser.parse_args()
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(5)
    high, val_high = phantoms(240, args.image_size, gen), phantoms(36, args.image_size, gen)
    train_loader = DataLoader(TensorDataset(F.avg_pool2d(high, 2), high), args.batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(TensorDataset(F.avg_pool2d(val_high, 2), val_high), args.batch_size)

    generator, discriminator = Generator(), Discriminator()
    adversarial, content = nn.BCEWithLogitsLoss(), nn.MSELoss()
    optimizer_g = torch.optim.Adam(generator.parameters(), args.lr)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), args.lr)
    scheduler_g = torch.optim.lr_scheduler.StepLR(optimizer_g, step_size=math.ceil(args.epochs / 2), gamma=0.1)
    scheduler_d = torch.optim.lr_scheduler.StepLR(optimizer_d, step_size=math.ceil(args.epochs / 2), gamma=0.1)

    for epoch in range(args.epochs):
        d_total = g_total = 0.0
        for lr, hr in train_loader:
            ones, zeros = torch.ones(len(hr), 1), torch.zeros(len(hr), 1)
            sr = generator(lr)

            optimizer_d.zero_grad()
            d_loss = adversarial(discriminator(hr), ones) + adversarial(discriminator(sr.detach()), zeros)
            d_loss.backward()
            optimizer_d.step()

            optimizer_g.zero_grad()
            g_loss = content(sr, hr) + 1e-4 * adversarial(discriminator(sr), ones)
            g_loss.backward()
            optimizer_g.step()

            d_total += d_loss.item()
            g_total += g_loss.item()
            scheduler_d.step()
            scheduler_g.step()
        ours, cubic = validate(generator, val_loader)
        print(f"[{epoch + 1}/{args.epochs}] loss_D {d_total / len(train_loader):.4f} loss_G {g_total / len(train_loader):.5f} PSNR {ours:.2f} dB (bicubic {cubic:.2f})")
    torch.save(generator.state_dict(), "generator.pth")


if __name__ == "__main__":
    main()
