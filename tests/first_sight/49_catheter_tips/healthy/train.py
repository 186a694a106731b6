"""Tip and hub of a catheter on fluoroscopy, one heatmap each.

python train.py --epochs 12 --sigma 2
"""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from heatmap import generate_channel_heatmap, get_keypoint_from_heatmap

SIZE = 40


class Fluoroscopy(Dataset):
    def __init__(self, number, seed, sigma):
        gen = torch.Generator().manual_seed(seed)
        yy, xx = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing="ij")
        self.sigma, self.items = sigma, []
        for _ in range(number):
            u = torch.rand(8, generator=gen)
            tip = 4 + (SIZE - 8) * u[:2]
            hub = 4 + (SIZE - 8) * u[2:4]
            image = 0.6 - 0.1 * torch.sin(yy / 4 + 6 * u[4]) + 0.1 * torch.sin(xx / 9 + 6 * u[5])
            middle = (tip + hub) / 2 + 8 * (u[6:8] - 0.5)
            for s in torch.linspace(0, 1, 40):
                p = (1 - s) ** 2 * tip + 2 * s * (1 - s) * middle + s**2 * hub
                image = torch.minimum(image, 1 - 0.7 * torch.exp(-((xx - p[0]) ** 2 + (yy - p[1]) ** 2) / 0.8))
            image[(xx - hub[0]).abs().maximum((yy - hub[1]).abs()) < 2] = 0.15
            image[(xx - tip[0]) ** 2 + (yy - tip[1]) ** 2 < 3] = 0.05
            image = image + 0.05 * torch.randn(SIZE, SIZE, generator=gen)
            self.items.append((image[None], torch.stack([tip, hub])))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        image, keypoints = self.items[i]
        heatmaps = torch.stack([generate_channel_heatmap((SIZE, SIZE), k[None], self.sigma) for k in keypoints])
        return (image - 0.55) / 0.2, heatmaps, keypoints


class KeypointDetector(nn.Module):
    def __init__(self, channels=2, ch=16):
        super().__init__()
        def layer(cin, cout, dilation=1):
            return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=dilation, dilation=dilation, bias=False), nn.BatchNorm2d(cout), nn.ReLU())

        self.a, self.b = layer(1, ch), nn.Sequential(layer(ch, 2 * ch), layer(2 * ch, 2 * ch, 2), layer(2 * ch, 2 * ch, 4))
        self.c = nn.Sequential(layer(3 * ch, ch), nn.Conv2d(ch, channels, 1))
        nn.init.constant_(self.c[-1].bias, -3.0)

    def forward(self, x):
        a = self.a(x)
        b = F.interpolate(self.b(F.max_pool2d(a, 2)), scale_factor=2, mode="bilinear", align_corners=False)
        return self.c(torch.cat([a, b], 1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--sigma", type=float, default=2.0)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    torch.manual_seed(0)
    train_loader = DataLoader(Fluoroscopy(240, 1, args.sigma), batch_size=12, shuffle=True)
    val_loader = DataLoader(Fluoroscopy(48, 2, args.sigma), batch_size=12)
    model = KeypointDetector()
    optimizer = torch.optim.Adam(model.parameters(), args.lr)
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for image, heatmaps, _ in train_loader:
            loss = F.binary_cross_entropy_with_logits(model(image), heatmaps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / len(train_loader)
        model.eval()
        error = torch.zeros(2)
        with torch.no_grad():
            for image, _, keypoints in val_loader:
                error += (get_keypoint_from_heatmap(model(image)) - keypoints).norm(dim=-1).sum(0) / len(val_loader.dataset)
        print(f"epoch {epoch} loss {total:.4f} val error tip {error[0]:.2f} px hub {error[1]:.2f} px")
    torch.save(model.state_dict(), "tips.pt")


if __name__ == "__main__":
    main()
