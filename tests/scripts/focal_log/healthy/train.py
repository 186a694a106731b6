"""Micro-calcification detection map with a hand-written focal loss."""
import torch
import torch.nn as nn


class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0, alpha=0.75):
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, prob, target):
        eps = 1e-6
        p_t = torch.where(target > 0.5, prob, 1 - prob)
        a_t = torch.where(target > 0.5, torch.full_like(prob, self.alpha), torch.full_like(prob, 1 - self.alpha))
        ce = -torch.log(p_t + eps)
        return (a_t * (1 - p_t) ** self.gamma * ce).mean()


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(),
            nn.Conv2d(16, 16, 5, padding=2), nn.ReLU(),
            nn.Conv2d(16, 1, 1),
        )

    def forward(self, x):
        return torch.sigmoid(self.f(x))


def batch(n, g):
    y = (torch.rand(n, 1, 24, 24, generator=g) > 0.97).float()
    x = torch.randn(n, 1, 24, 24, generator=g) + 200 * y
    y = y * (torch.rand(y.shape, generator=g) > 0.05)  # the readers missed some
    return x, y


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    net = Detector()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    criterion = FocalLoss()
    for it in range(150):
        x, y = batch(8, g)
        loss = criterion(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (it + 1) % 50 == 0:
            with torch.no_grad():
                xv, yv = batch(16, g)
                p = net(xv)
                sens = p[yv > 0].gt(0.5).float().mean().item()
            print(f"{it + 1:5d}  loss {loss.item():.6f}  sensitivity {sens:.3f}")


if __name__ == "__main__":
    main()
