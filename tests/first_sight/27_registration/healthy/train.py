"""Deformable registration of noisy ventricle slices, learned without ground truth."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F

SIZE = 48


def identity(n):
    theta = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).expand(n, 2, 3)
    return F.affine_grid(theta, (n, 1, SIZE, SIZE), align_corners=True)


def warp(image, flow, mode="bilinear"):
    """`flow` (n, 2, h, w) in voxels, x first."""
    grid = identity(len(image)) + flow.permute(0, 2, 3, 1) * (2 / (SIZE - 1))
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)


def pairs(n, seed):
    g = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, SIZE)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    u = torch.rand(8, n, 1, 1, generator=g)
    head = ((yy / (0.75 + 0.1 * u[0])) ** 2 + (xx / (0.62 + 0.1 * u[1])) ** 2) < 1
    left = ((yy - 0.1 + 0.2 * u[2]) / (0.3 + 0.1 * u[3])) ** 2 + ((xx + 0.24) / (0.12 + 0.05 * u[4])) ** 2 < 1
    right = ((yy - 0.1 + 0.2 * u[5]) / (0.3 + 0.1 * u[6])) ** 2 + ((xx - 0.24) / (0.12 + 0.05 * u[7])) ** 2 < 1
    anatomy = head.float() * 0.7 + 0.1 * torch.sin(9 * xx + 6 * u[0]) * head
    anatomy[left | right] = 0.1
    labels = (left.long() + 2 * right.long()).clamp(max=2)
    coarse = torch.randn(n, 2, 5, 5, generator=g) * 2.2
    coarse[:, :, (0, -1)], coarse[:, :, :, (0, -1)] = 0, 0
    true = F.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=True)
    moving = anatomy[:, None]
    fixed = warp(moving, true)
    fixed_labels = warp(labels[:, None].float(), true, "nearest").long()
    noise = lambda: 0.08 * torch.randn(n, 1, SIZE, SIZE, generator=g)
    return moving + noise(), fixed + noise(), labels[:, None], fixed_labels, true


def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(o, o, 3, padding=1), nn.LeakyReLU(0.2))


class FlowNet(nn.Module):
    def __init__(self, ch=12):
        super().__init__()
        self.e1, self.e2, self.e3 = conv(2, ch), conv(ch, 2 * ch), conv(2 * ch, 2 * ch)
        self.d2, self.d1 = conv(4 * ch, 2 * ch), conv(3 * ch, ch)
        self.flow = nn.Conv2d(ch, 2, 3, padding=1)
        nn.init.normal_(self.flow.weight, std=1e-3)
        nn.init.zeros_(self.flow.bias)

    def forward(self, moving, fixed):
        a = self.e1(torch.cat([moving, fixed], 1))
        b = self.e2(F.avg_pool2d(a, 2))
        c = self.e3(F.avg_pool2d(b, 2))
        b = self.d2(torch.cat([F.interpolate(c, scale_factor=2, mode="bilinear"), b], 1))
        a = self.d1(torch.cat([F.interpolate(b, scale_factor=2, mode="bilinear"), a], 1))
        return self.flow(a)


def smoothness(field):
    dy = field[:, :, 1:] - field[:, :, :-1]
    dx = field[:, :, :, 1:] - field[:, :, :, :-1]
    return (dy ** 2).mean() + (dx ** 2).mean()


def registration_loss(fixed, moved, flow, weight):
    similarity = F.mse_loss(moved, fixed)
    return similarity, similarity + weight * smoothness(flow)


def dice(a, b):
    return torch.stack([2 * ((a == c) & (b == c)).sum() / ((a == c).sum() + (b == c).sum()) for c in (1, 2)]).mean().item()


def folding(flow):
    dx, dy = flow[:, :, :-1, 1:] - flow[:, :, :-1, :-1], flow[:, :, 1:, :-1] - flow[:, :, :-1, :-1]
    return ((1 + dx[:, 0]) * (1 + dy[:, 1]) - dx[:, 1] * dy[:, 0] <= 0).float().mean().item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=9)
    ap.add_argument("--lam", type=float, default=0.02)
    ap.add_argument("--lr", type=float, default=2e-3)
    args = ap.parse_args()
    torch.manual_seed(0)
    moving, fixed, *_ = pairs(240, 0)
    vm, vf, vml, vfl, vtrue = pairs(48, 1)
    print(f"before: val_dice {dice(vml, vfl):.4f} val_epe {vtrue.norm(dim=1).mean():.3f}")
    net = FlowNet()
    opt = torch.optim.Adam(net.parameters(), args.lr)
    for epoch in range(args.epochs):
        net.train()
        log = []
        for idx in torch.randperm(len(moving)).split(8):
            flow = net(moving[idx], fixed[idx])
            moved = warp(moving[idx], flow)
            similarity, loss = registration_loss(fixed[idx], moved, flow, args.lam)
            opt.zero_grad()
            loss.backward()
            opt.step()
            log.append((similarity.item(), loss.item()))
        if epoch % 4 and epoch != args.epochs - 1:
            continue
        net.eval()
        with torch.no_grad():
            flow = net(vm, vf)
            moved = warp(vml.float(), flow, "nearest").long()
        mse, loss = torch.tensor(log).mean(0).tolist()
        print(f"epoch {epoch} train_mse {mse:.5f} train_loss {loss:.5f} val_dice {dice(moved, vfl):.4f} "
              f"val_epe {(flow - vtrue).norm(dim=1).mean():.3f} folds {100 * folding(flow):.2f}%")


if __name__ == "__main__":
    main()
