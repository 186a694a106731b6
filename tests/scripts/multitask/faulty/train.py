"""Joint lesion segmentation and volume estimation."""
import torch
import torch.nn as nn


class MultiTask(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1), nn.ReLU())
        self.seg = nn.Conv2d(c, 1, 1)
        self.vol = nn.Linear(c, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.seg(h), self.vol(h.mean((2, 3))).squeeze(1)


def batch(n, g):
    m = torch.zeros(n, 1, 20, 20)
    for i in range(n):
        s = int(torch.randint(3, 12, (1,), generator=g))
        o = int(torch.randint(0, 20 - s, (1,), generator=g))
        m[i, :, o:o + s, o:o + s] = 1
    return m + 0.5 * torch.randn(n, 1, 20, 20, generator=g), m, m.mean((1, 2, 3)) * 10


torch.manual_seed(0)
g = torch.Generator().manual_seed(0)
model = MultiTask()
seg_loss = nn.BCEWithLogitsLoss(reduction="sum")
vol_loss = nn.SmoothL1Loss()
opt = torch.optim.Adam(model.parameters(), lr=2e-3)

for it in range(120):
    x, m, v = batch(8, g)
    seg, vol = model(x)
    l_seg = seg_loss(seg, m)
    l_vol = vol_loss(vol, v)
    loss = l_seg + 0.3 * l_vol
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 40 == 39:
        with torch.no_grad():
            x, m, v = batch(32, g)
            seg, vol = model(x)
            print(it + 1, "seg", round(l_seg.item(), 4), "vol", round(l_vol.item(), 4),
                  "val vol err", round((vol - v).abs().mean().item(), 4))
