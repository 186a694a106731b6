"""Unsupervised 2D registration (VoxelMorph style): MSE after warping + smoothness of the field."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class RegNet(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.a = nn.Conv2d(2, c, 3, padding=1)
        self.b = nn.Conv2d(c, c, 3, stride=2, padding=1)
        self.c = nn.Conv2d(c, c, 3, padding=1)
        self.out = nn.Conv2d(c, 2, 3, padding=1)
        nn.init.normal_(self.out.weight, std=1e-3)

    def forward(self, moving, fixed):
        h = F.leaky_relu(self.a(torch.cat([moving, fixed], 1)), 0.2)
        h = F.leaky_relu(self.b(h), 0.2)
        h = F.leaky_relu(self.c(h), 0.2)
        flow = torch.clamp(self.out(h), -0.6, 0.6)
        return F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False)


def warp(img, flow):
    n, _, hh, ww = img.shape
    base = F.affine_grid(torch.eye(2, 3).expand(n, -1, -1), img.shape, align_corners=False)
    return F.grid_sample(img, base + flow.permute(0, 2, 3, 1), align_corners=False)


def smoothness(flow):
    dy = (flow[:, :, 1:] - flow[:, :, :-1]).pow(2).mean()
    dx = (flow[:, :, :, 1:] - flow[:, :, :, :-1]).pow(2).mean()
    return dx + dy


def pairs(n, g):
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, 24), torch.linspace(-1, 1, 24), indexing="ij")

    def blob(c):
        return torch.exp(-((yy - c[:, 0, None, None]) ** 2 + (xx - c[:, 1, None, None]) ** 2) / 0.15)

    c = 0.6 * (torch.rand(n, 2, generator=g) - 0.5)
    d = 0.25 * torch.sign(torch.rand(n, 2, generator=g) - 0.5)
    return blob(c).unsqueeze(1), blob(c + d).unsqueeze(1)


if __name__ == "__main__":
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    net = RegNet()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for it in range(150):
        moving, fixed = pairs(8, g)
        flow = net(moving, fixed)
        sim = F.mse_loss(warp(moving, flow), fixed)
        reg = smoothness(flow)
        loss = sim + 0.1 * reg
        opt.zero_grad()
        loss.backward()
        opt.step()
        if it % 50 == 49:
            with torch.no_grad():
                m, f = pairs(32, g)
                after = F.mse_loss(warp(m, net(m, f)), f).item()
            print(f"{it + 1} sim {sim.item():.5f} reg {reg.item():.6f} val {F.mse_loss(m, f).item():.5f} -> {after:.5f}")
