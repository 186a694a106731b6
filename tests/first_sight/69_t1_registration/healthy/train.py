"""Deformable registration of brain slices to each other, unsupervised, with accelerate.

accelerate launch train.py --batch_size 2 --gradient_accumulation_steps 4
"""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from scipy.ndimage import gaussian_filter, map_coordinates
from torch.utils.data import DataLoader, Dataset

SIZE = 48


def atlas():
    """Labels of a slice: 0 outside, 1 grey matter, 2 white matter, 3 ventricles."""
    yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    label = np.zeros((SIZE, SIZE))
    label[(yy / 19) ** 2 + (xx / 16) ** 2 < 1] = 1
    wave = 1 + 0.12 * np.cos(6 * np.arctan2(yy, xx))
    label[(yy / 15) ** 2 + (xx / 12) ** 2 < wave**2] = 2
    for side in (-1, 1):
        label[((yy + 1) / 6) ** 2 + ((xx - 3.5 * side) / 2.4) ** 2 < 1] = 3
    return label


class Brains(Dataset):
    """Pairs of subjects; a subject is the atlas, deformed smoothly, with its own contrast."""

    def __init__(self, pairs, seed):
        rng = np.random.default_rng(seed)
        self.subjects = [self.subject(rng) for _ in range(2 * pairs)]

    @staticmethod
    def subject(rng):
        flow = np.stack([gaussian_filter(rng.normal(0, 1, (SIZE, SIZE)), 7) for _ in range(2)])
        flow *= 2.6 / flow.std()
        grid = np.mgrid[:SIZE, :SIZE] + flow
        label = map_coordinates(atlas(), grid, order=0)
        values = np.array([0.05, 0.55, 0.85, 0.2]) + rng.normal(0, 0.015, 4)
        image = gaussian_filter(values[label.astype(int)], 0.7) + rng.normal(0, 0.02, label.shape)
        return torch.from_numpy(image).float()[None], torch.from_numpy(label).long()

    def __len__(self):
        return len(self.subjects) // 2

    def __getitem__(self, i):
        (moving, moving_label), (fixed, fixed_label) = self.subjects[2 * i], self.subjects[2 * i + 1]
        return {"moving": moving, "fixed": fixed, "moving_label": moving_label, "fixed_label": fixed_label}


def warp(image, flow, mode="bilinear"):
    """Image (B, C, H, W) at places moved by the flow (B, 2, H, W), x then y, in pixels."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    place = torch.stack([x, y]).to(flow) + flow
    return F.grid_sample(image, (2 * place / (SIZE - 1) - 1).permute(0, 2, 3, 1), mode, "border", align_corners=True)


class FlowNet(nn.Module):
    def __init__(self, ch=16):
        super().__init__()

        def conv(cin, cout, stride=1):
            return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1), nn.GroupNorm(4, cout), nn.LeakyReLU(0.2))

        self.enter, self.down1, self.down2 = conv(2, ch), conv(ch, 2 * ch, 2), conv(2 * ch, 2 * ch, 2)
        self.middle = conv(2 * ch, 2 * ch)
        self.up2, self.up1 = conv(4 * ch, 2 * ch), conv(3 * ch, ch)
        self.flow = nn.Conv2d(ch, 2, 3, padding=1)
        nn.init.normal_(self.flow.weight, 0, 1e-3)
        nn.init.zeros_(self.flow.bias)

    def forward(self, moving, fixed):
        a = self.enter(torch.cat([moving, fixed], 1))
        b = self.down1(a)
        c = self.middle(self.down2(b))
        c = self.up2(torch.cat([F.interpolate(c, scale_factor=2, mode="bilinear", align_corners=False), b], 1))
        c = self.up1(torch.cat([F.interpolate(c, scale_factor=2, mode="bilinear", align_corners=False), a], 1))
        return self.flow(c)


def bending(flow):
    return (flow[..., 1:] - flow[..., :-1]).pow(2).mean() + (flow[..., 1:, :] - flow[..., :-1, :]).pow(2).mean()


@torch.no_grad()
def evaluate(model, loader):
    """Dice of grey matter, white matter and ventricles before and after, averaged."""
    model.eval()
    before, after = [], []
    for batch in loader:
        flow = model(batch["moving"], batch["fixed"])
        warped = warp(batch["moving_label"][:, None].float(), flow, "nearest")[:, 0].long()
        for found, scores in ((batch["moving_label"], before), (warped, after)):
            for k in (1, 2, 3):
                a, b = found == k, batch["fixed_label"] == k
                scores.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    return torch.stack(before).mean().item(), torch.stack(after).mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--gradient_accumulation_steps", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--smooth", type=float, default=0.004)
    args = parser.parse_args()
    set_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=args.gradient_accumulation_steps)
    train_loader = DataLoader(Brains(160, 1), args.batch_size, shuffle=True)
    val_loader = DataLoader(Brains(40, 2), 20)
    model = FlowNet()
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9)
    model, optimizer, train_loader = accelerator.prepare(model, optimizer, train_loader)
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for batch in train_loader:
            with accelerator.accumulate(model):
                flow = model(batch["moving"], batch["fixed"])
                loss = F.mse_loss(warp(batch["moving"], flow), batch["fixed"]) + args.smooth * bending(flow)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            total += loss.item()
        if epoch % 3 == 0:
            before, after = evaluate(model, val_loader)
            accelerator.print(f"epoch {epoch:2d} loss {total / len(train_loader):.5f} val Dice {before:.3f} -> {after:.3f}")
    torch.save(accelerator.unwrap_model(model).state_dict(), "flow.pt")


if __name__ == "__main__":
    main()
