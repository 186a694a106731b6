"""Cephalometric landmarks by heatmap regression."""
import torch
import torch.nn as nn


class Hourglass(nn.Module):
    def __init__(self, k=3, c=16):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, c, 3, 2, 1), nn.ReLU(), nn.Conv2d(c, c, 3, 2, 1), nn.ReLU())
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(c, c, 3, 1, 1), nn.ReLU(),
            nn.Upsample(scale_factor=2), nn.Conv2d(c, k, 3, 1, 1),
        )

    def forward(self, x):
        return self.up(self.down(x))


def heatmaps(pts, size=24, sigma=2.0):
    grid = torch.arange(size).float()
    dy = (grid[None, None] - pts[..., 0:1]) ** 2
    dx = (grid[None, None] - pts[..., 1:2]) ** 2
    return torch.exp(-(dy[..., :, None] + dx[..., None, :]) / (2 * sigma**2))


def get_batch(n, g):
    pts = torch.randint(4, 20, (n, 3, 2), generator=g).float()
    x = 0.2 * torch.randn(n, 1, 24, 24, generator=g)
    h = heatmaps(pts, sigma=1.0)
    x = x + (h * torch.tensor([1.0, 2.0, -1.5])[None, :, None, None]).sum(1, keepdim=True)
    return x, pts


def decode(h):
    flat = h.flatten(2).argmax(-1)
    return torch.stack([flat // h.shape[-1], flat % h.shape[-1]], dim=-1).float()


def train_one_step(net, opt, x, target):
    pred = net(x)
    loss = ((pred - target) ** 2).sum(dim=(2, 3)).mean()
    loss.backward()
    opt.step()
    return loss.item()


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    net = Hourglass()
    opt = torch.optim.Adam(net.parameters(), 2e-3)
    for step in range(150):
        x, pts = get_batch(8, g)
        loss = train_one_step(net, opt, x, heatmaps(pts))
        if step % 50 == 49:
            xv, pv = get_batch(32, g)
            with torch.no_grad():
                err = (decode(net(xv)) - pv).norm(dim=-1).mean().item()
            print(f"{step + 1} loss {loss:.4f} mean radial error {err:.2f} px")


if __name__ == "__main__":
    main()
