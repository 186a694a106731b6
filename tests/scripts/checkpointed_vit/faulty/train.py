"""Tiny ViT with gradient checkpointing: fracture yes/no from patches. Backbone and head have their own lr."""
import argparse

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        h = self.n1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.n2(x))


class Backbone(nn.Module):
    def __init__(self, dim=32, depth=3, patch=4, size=16):
        super().__init__()
        self.embed = nn.Conv2d(1, dim, patch, stride=patch)
        self.pos = nn.Parameter(torch.randn(1, (size // patch) ** 2, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(depth))

    def forward(self, x):
        t = self.embed(x).flatten(2).transpose(1, 2) + self.pos
        for blk in self.blocks:
            if self.training:
                t = checkpoint(blk, t, use_reentrant=False)
            else:
                t = blk(t)
        return t.mean(dim=1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        return self.head(self.backbone(x)).squeeze(1)


def batch(n, gen):
    y = torch.randint(0, 2, (n,), generator=gen).float()
    x = torch.randn(n, 1, 16, 16, generator=gen)
    rows = torch.randint(2, 14, (n,), generator=gen)
    for i in range(n):
        if y[i] > 0:
            x[i, 0, rows[i], :] += 2.0
    return x, y


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--lr-backbone", type=float, default=1e-8)
    ap.add_argument("--lr-head", type=float, default=1e-3)
    ap.add_argument("--iters", type=int, default=80)
    args = ap.parse_args()
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(0)
    model = Model()
    params = [
        {"params": model.backbone.parameters(), "lr": args.lr_backbone},
        {"params": model.head.parameters(), "lr": args.lr_head},
    ]
    opt = torch.optim.AdamW(params, weight_decay=0.01)
    lossf = nn.BCEWithLogitsLoss()
    for it in range(args.iters):
        model.train()
        x, y = batch(16, gen)
        loss = lossf(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if it % 20 == 19:
            model.eval()
            with torch.no_grad():
                xv, yv = batch(64, gen)
                acc = ((model(xv) > 0).float() == yv).float().mean()
            print(it + 1, round(loss.item(), 4), round(acc.item(), 3))
