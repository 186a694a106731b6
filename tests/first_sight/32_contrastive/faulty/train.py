"""Contrastive pre-training on cell crops, encoded shard by shard as on several cards, then a nearest-neighbour check."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

WORLD, PER_SHARD, TEMPERATURE = 4, 24, 0.2


def crops(n, seed):
    """Six cell types: number of lobes of the nucleus by granular or clear plasma. Returns crops (n, 1, 28, 28) and types."""
    g = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, 28)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    kind = torch.randint(0, 6, (n,), generator=g)
    u = torch.rand(5, n, 1, 1, generator=g)
    lobes, grain = kind % 3, kind // 3
    angle = torch.atan2(yy, xx)[None] + 6.3 * u[0]
    d = torch.hypot(yy, xx)[None].expand(n, -1, -1)
    plasma = torch.sigmoid((0.75 + 0.1 * u[1] - d) * 12) * 0.45
    waves = 2.0 + 2 * lobes.view(-1, 1, 1)
    nucleus = torch.sigmoid((0.32 + 0.05 * u[2] + 0.14 * torch.cos(waves * angle) - d) * 14) * 0.6
    dots = torch.rand(n, 28, 28, generator=g)
    plasma = plasma - (grain.view(-1, 1, 1) == 1) * (dots > 0.86) * (d < 0.7) * 0.5
    return (plasma + nucleus).unsqueeze(1) - 0.35, kind


def augment(x):
    n = len(x)
    angle, scale = torch.rand(n) * 2 * math.pi, 0.85 + 0.3 * torch.rand(n)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = angle.cos() * scale, -angle.sin() * scale
    theta[:, 1, 0], theta[:, 1, 1] = angle.sin() * scale, angle.cos() * scale
    theta[:, :, 2] = 0.15 * (torch.rand(n, 2) - 0.5)
    y = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), padding_mode="border", align_corners=False)
    y = y * (0.6 + 0.8 * torch.rand(n, 1, 1, 1)) + 0.3 * (torch.rand(n, 1, 1, 1) - 0.5)
    return y + 0.05 * torch.randn_like(y)


class Encoder(nn.Module):
    def __init__(self, ch=16, dim=32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, ch, 3, padding=1), nn.BatchNorm2d(ch), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(ch, 2 * ch, 3, padding=1), nn.BatchNorm2d(2 * ch), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * ch, 3 * ch, 3, padding=1), nn.BatchNorm2d(3 * ch), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.project = nn.Sequential(nn.Linear(3 * ch, 3 * ch), nn.ReLU(), nn.Linear(3 * ch, dim))

    def forward(self, x):
        return self.project(self.body(x))


class NTXent(nn.Module):
    def __init__(self, per_shard, world, temperature):
        super().__init__()
        self.n, self.temperature = 2 * per_shard * world, temperature
        half = self.n // 2
        self.register_buffer("partner", torch.arange(self.n).roll(half))
        self.register_buffer("itself", torch.eye(self.n, dtype=torch.bool))

    def forward(self, first, second):
        """`first` and `second`: one tensor (per_shard, dim) a shard, the two views of the same crops."""
        z = torch.cat([torch.cat(views) for views in zip(first, second)])
        z = F.normalize(z, dim=1)
        similarity = (z @ z.T / self.temperature).masked_fill(self.itself, -1e4)
        return F.cross_entropy(similarity, self.partner)


@torch.no_grad()
def neighbours(encoder, bank, query, k=9):
    encoder.eval()
    a, b = F.normalize(encoder.body(bank[0]), dim=1), F.normalize(encoder.body(query[0]), dim=1)
    votes = F.one_hot(bank[1][(b @ a.T).topk(k, 1).indices], 6).sum(1)
    return (votes.argmax(1) == query[1]).float().mean().item()


def main():
    torch.manual_seed(0)
    train, test = crops(960, 0), crops(300, 1)
    encoder, criterion = Encoder(), NTXent(PER_SHARD, WORLD, TEMPERATURE)
    opt = torch.optim.AdamW(encoder.parameters(), 2e-3, weight_decay=1e-4)
    print(f"untrained: val_knn_acc {neighbours(encoder, train, test):.4f}; chance loss {math.log(2 * WORLD * PER_SHARD - 1):.3f}")
    for epoch in range(1, 10):
        encoder.train()
        losses = []
        for idx in torch.randperm(len(train[0])).split(WORLD * PER_SHARD):
            first, second = [], []
            for shard in idx.split(PER_SHARD):
                x = train[0][shard]
                first.append(encoder(augment(x)))
                second.append(encoder(augment(x)))
            loss = criterion(first, second)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 3 == 0:
            print(f"epoch {epoch} train_loss {sum(losses) / len(losses):.4f} val_knn_acc {neighbours(encoder, train, test):.4f}")


if __name__ == "__main__":
    main()
