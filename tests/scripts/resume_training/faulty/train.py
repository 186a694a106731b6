"""Liver segmentation, resumable.

First call trains 2 epochs and writes last.pt, `--resume last.pt` goes on from there.  Without arguments both are done
one after the other (smoke test).
"""
import argparse
import os
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F

TOTAL_EPOCHS = 8


def build():
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.InstanceNorm2d(12, affine=True), nn.LeakyReLU(),
        nn.Conv2d(12, 12, 3, padding=1), nn.InstanceNorm2d(12, affine=True), nn.LeakyReLU(),
        nn.Conv2d(12, 2, 1),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    sched = torch.optim.lr_scheduler.PolynomialLR(opt, total_iters=TOTAL_EPOCHS, power=0.9)
    return net, opt, sched


def data(n=48, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 20, 20, generator=g)
    y = (F.avg_pool2d(x, 5, 1, 2) > 0.1).long().squeeze(1)
    return x, y


def train(net, opt, sched, first, last, ckpt):
    x, y = data()
    xv, yv = data(8, 1)
    for epoch in range(first, last):
        net.train()
        for i in range(0, len(x), 4):
            loss = F.cross_entropy(net(x[i:i + 4]), y[i:i + 4])
            opt.zero_grad()
            loss.backward()
            opt.step()
        sched.step()
        net.eval()
        with torch.no_grad():
            val = F.cross_entropy(net(xv), yv).item()
        print(f"epoch {epoch} lr {opt.param_groups[0]['lr']:.4f} loss {loss.item():.4f} val {val:.4f}")
        torch.save({"epoch": epoch + 1, "net": net.state_dict(), "opt": opt.state_dict(), "sched": sched.state_dict()}, ckpt)


def resume(path):
    net, opt, sched = build()
    ck = torch.load(path)
    net.load_state_dict(ck["net"])
    return net, opt, sched, ck["epoch"]


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--resume", default=None)
    a = ap.parse_args()
    torch.manual_seed(0)
    if a.resume:
        net, opt, sched, start = resume(a.resume)
        train(net, opt, sched, start, TOTAL_EPOCHS, a.resume)
    else:
        with tempfile.TemporaryDirectory() as d:
            last = os.path.join(d, "last.pt")
            train(*build(), 0, 5, last)
            net, opt, sched, start = resume(last)
            train(net, opt, sched, start, TOTAL_EPOCHS, last)
