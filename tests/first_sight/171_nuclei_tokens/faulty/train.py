"""Nuclei in stained tissue: a small vision transformer whose tokens are turned back into a mask."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(3)
SIZE, PATCH, DIM = 48, 6, 96
GRID = SIZE // PATCH
EPOCHS, BATCH, RATE = 7, 20, 1.5e-3


def tissue(count, seed):
    """Pink tissue (three channels) with dark violet nuclei, and the mask of the nuclei."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    pictures, masks = np.zeros((count, 3, SIZE, SIZE), np.float32), np.zeros((count, 1, SIZE, SIZE), np.float32)
    for k in range(count):
        stain = np.array([0.85, 0.65, 0.8]) + rng.normal(0, 0.03, 3)
        texture = 0.04 * np.sin(rows / rng.uniform(3, 6) + cols / rng.uniform(3, 6))
        picture = stain[:, None, None] + texture
        for _ in range(rng.integers(3, 8)):
            cy, cx = rng.uniform(3, SIZE - 3, 2)
            ry, rx = rng.uniform(3, 6.5, 2)
            inside = ((rows - cy) / ry) ** 2 + ((cols - cx) / rx) ** 2 < 1
            colour = np.array([0.45, 0.3, 0.6]) + rng.normal(0, 0.05, 3)
            picture = np.where(inside, colour[:, None, None] + texture, picture)
            masks[k, 0][inside] = 1
        pictures[k] = picture + rng.normal(0, 0.05, picture.shape)
    return torch.from_numpy((pictures - 0.7) / 0.2), torch.from_numpy(masks)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, tokens):
        n = self.norm1(tokens)
        tokens = tokens + self.attention(n, n, n, need_weights=False)[0]
        return tokens + self.mlp(self.norm2(tokens))


class TokenMask(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.position = nn.Parameter(0.02 * torch.randn(1, GRID * GRID, DIM))
        self.blocks = nn.Sequential(Block(DIM, 4), Block(DIM, 4))
        self.norm = nn.LayerNorm(DIM)
        self.pixels = nn.Linear(DIM, PATCH * PATCH)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.position
        pixels = self.pixels(self.norm(self.blocks(tokens)))
        pixels = pixels.view(-1, GRID, PATCH, GRID, PATCH)
        return pixels.reshape(-1, 1, SIZE, SIZE)


def dice(logits, masks):
    guess = (logits > 0).float()
    return (2 * (guess * masks).sum((1, 2, 3)) / (guess.sum((1, 2, 3)) + masks.sum((1, 2, 3)))).mean().item()


x_train, y_train = tissue(320, 0)
x_val, y_val = tissue(80, 1)
net = TokenMask()
optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.01)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * (len(x_train) // BATCH))
for epoch in range(EPOCHS):
    net.train()
    order, total = torch.randperm(len(x_train)), 0.0
    for part in order.split(BATCH):
        logits = net(x_train[part])
        loss = F.binary_cross_entropy_with_logits(logits, y_train[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(part)
    net.eval()
    with torch.no_grad():
        val = net(x_val)
        val_loss = F.binary_cross_entropy_with_logits(val, y_val).item()
    print(f"epoch {epoch + 1:2d}  train {total / len(x_train):.4f}  val {val_loss:.4f}  dice {dice(val, y_val):.4f}")
