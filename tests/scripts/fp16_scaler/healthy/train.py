"""Perfusion curve fitting network, fp16 with loss scaling."""
import torch
import torch.nn as nn


class CurveNet(nn.Module):
    def __init__(self, t=32, out=3):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(t, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, out))

    def forward(self, x):
        return self.net(x)


def curves(n, gen):
    p = torch.rand(n, 3, generator=gen)
    t = torch.linspace(0, 1, 32)
    c = (1 + p[:, :1]) * t ** (1 + p[:, 1:2]) * torch.exp(-t * (2 + 4 * p[:, 2:]))
    return c + 0.01 * torch.randn(n, 32, generator=gen), p


def train(steps=120, amp_dtype=torch.float16):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(0)
    net = CurveNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=200)
    for step in range(steps):
        x, y = curves(64, gen)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=amp_dtype):
            pred = net(x)
            loss = nn.functional.mse_loss(pred.float(), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if step % 40 == 39:
            with torch.no_grad():
                xv, yv = curves(256, gen)
                rmse = (net(xv) - yv).square().mean().sqrt()
            print(f"step {step + 1} loss {loss.item():.5f} val rmse {rmse.item():.4f} scale {scaler.get_scale():.0f}")


if __name__ == "__main__":
    train()
