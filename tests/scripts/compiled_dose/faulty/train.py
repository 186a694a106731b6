"""Dose prediction from CT + structures (2D toy), torch.compile'd model."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class ResBlock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.conv1 = nn.Conv2d(ch, ch, 3, padding=1)
        self.conv2 = nn.Conv2d(ch, ch, 3, padding=1)
        self.norm = nn.GroupNorm(4, ch)

    def forward(self, x):
        return x + self.conv2(F.gelu(self.conv1(self.norm(x))))


class DoseNet(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.inp = nn.Conv2d(2, ch, 3, padding=1)
        self.blocks = nn.Sequential(ResBlock(ch), ResBlock(ch))
        self.out = nn.Conv2d(ch, 1, 1)

    def forward(self, x):
        return self.out(self.blocks(self.inp(x)))


def get_data(n, seed):
    gen = torch.Generator().manual_seed(seed)
    ct = torch.randn(n, 1, 20, 20, generator=gen)
    ptv = torch.zeros(n, 1, 20, 20)
    for i in range(n):
        y, x = torch.randint(3, 11, (2,), generator=gen)
        ptv[i, :, y:y + 6, x:x + 6] = 1.0
    dose = F.avg_pool2d(F.pad(ptv, (2, 2, 2, 2)), 5, stride=1) + 0.05 * torch.sigmoid(ct)
    return torch.cat([ct, ptv], dim=1), dose


def main():
    torch.manual_seed(3)
    model = DoseNet()
    fast = torch.compile(model, backend="eager")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
    x, y = get_data(96, 0)
    xv, yv = get_data(16, 1)
    for it in range(100):
        sel = torch.randint(0, len(x), (8,))
        pred = fast(x[sel])
        loss = F.mse_loss(pred, y[sel])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if it % 25 == 24:
            model.eval()
            with torch.no_grad():
                mae = (fast(xv) - yv).abs().mean().item()
            model.train()
            print(f"it {it + 1}: mse {loss.item():.5f}  val mae {mae:.4f}", flush=True)


if __name__ == "__main__":
    main()
