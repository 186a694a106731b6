"""Spectrum to concentration, deep MLP."""
import torch
from torch import nn


def mlp(depth, width, act):
    layers = [nn.Linear(24, width), act()]
    for _ in range(depth):
        layers.append(nn.Linear(width, width))
        layers.append(act())
    layers.append(nn.Linear(width, 1))
    return nn.Sequential(*layers)


def spectra(n, gen):
    c = torch.rand(n, 1, generator=gen)
    x = torch.linspace(0, 1, 24)
    s = c * torch.exp(-((x - 0.3) ** 2) / 0.01) + (1 - c) * torch.exp(-((x - 0.7) ** 2) / 0.02)
    return (s + 0.02 * torch.randn(n, 24, generator=gen)) * 2 - 0.4, c


def main():
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(0)
    model = mlp(depth=8, width=48, act=nn.Sigmoid)
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(200):
        x, c = spectra(32, gen)
        loss = nn.functional.mse_loss(model(x), c)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 50 == 49:
            with torch.no_grad():
                xv, cv = spectra(200, gen)
                r = (model(xv) - cv).abs().mean().item()
            print(step + 1, "train", round(loss.item(), 5), "val mae", round(r, 4))


main()
