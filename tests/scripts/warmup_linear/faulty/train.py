"""Polyp segmentation with linear warm-up, then cosine, stepped per iteration."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

ITERS = 120
WARMUP = 20


def make_net():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 1, 1),
    )


def frames(n, g):
    m = torch.zeros(n, 1, 20, 20)
    for i in range(n):
        y, x = torch.randint(2, 12, (2,), generator=g).tolist()
        m[i, 0, y:y + 6, x:x + 6] = 1
    img = 0.4 * torch.randn(n, 3, 20, 20, generator=g)
    img[:, 0:1] += m
    return img, m


torch.manual_seed(0)
gen = torch.Generator().manual_seed(0)
net = make_net()
opt = torch.optim.AdamW(net.parameters(), lr=3e-3)
sched = SequentialLR(
    opt,
    [LinearLR(opt, start_factor=0.05, total_iters=WARMUP), CosineAnnealingLR(opt, T_max=ITERS - WARMUP)],
    milestones=[WARMUP],
)
for it in range(1, ITERS + 1):
    net.train()
    x, y = frames(8, gen)
    loss = F.binary_cross_entropy_with_logits(net(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 40 == 0:
        sched.step()
        net.eval()
        with torch.no_grad():
            xv, yv = frames(32, gen)
            iou = ((net(xv) > 0) & (yv > 0)).sum() / ((net(xv) > 0) | (yv > 0)).sum()
        print(f"[{it}/{ITERS}] lr {sched.get_last_lr()[0]:.2e} loss {loss.item():.4f} iou {iou.item():.3f}")
