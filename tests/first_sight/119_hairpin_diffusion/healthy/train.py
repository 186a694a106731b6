"""Masked diffusion of short DNA hairpins (stem, loop, reverse complement of the stem)."""
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

LETTERS = "ACGT"
MASK = len(LETTERS)


@dataclass
class Config:
    stem: int = 5
    loop: int = 4
    timesteps: int = 24
    dim: int = 48
    heads: int = 4
    layers: int = 2
    batch_size: int = 48
    steps: int = 500
    lr: float = 4e-3
    seed: int = 4

    @property
    def length(self):
        return 2 * self.stem + self.loop


def hairpins(count, config, generator):
    """Tokens (count, length); loops begin with G and end with A, stems are rich in G and C."""
    weights = torch.tensor([0.2, 0.3, 0.3, 0.2])
    stem = torch.multinomial(weights, count * config.stem, replacement=True, generator=generator).view(count, -1)
    loop = torch.randint(4, (count, config.loop), generator=generator)
    loop[:, 0], loop[:, -1] = LETTERS.index("G"), LETTERS.index("A")
    return torch.cat([stem, loop, 3 - stem.flip(1)], 1)


class Schedule:
    """Probability of a masked letter at each timestep, from nearly clean (0) to all masked (timesteps - 1)."""

    def __init__(self, timesteps):
        self.mask_prob = torch.arange(1, timesteps + 1) / timesteps

    def add_mask(self, x, t, generator):
        masked = torch.rand(x.shape, generator=generator) < self.mask_prob[t][:, None]
        return torch.where(masked, torch.full_like(x, MASK), x), masked


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        h = self.norm_1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm_2(x))


class Denoiser(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.token = nn.Embedding(len(LETTERS) + 1, config.dim)
        self.place = nn.Embedding(config.length, config.dim)
        self.time = nn.Embedding(config.timesteps, config.dim)
        self.blocks = nn.Sequential(*(Block(config.dim, config.heads) for _ in range(config.layers)))
        self.head = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, len(LETTERS)))

    def forward(self, x, t):
        h = self.token(x) + self.place.weight + self.time(t)[:, None]
        return self.head(self.blocks(h))


def masked_loss(model, schedule, x, t, generator):
    noisy, masked = schedule.add_mask(x, t, generator)
    losses = F.cross_entropy(model(noisy, t).transpose(1, 2), x, reduction="none")
    return (losses * masked).sum() / masked.sum().clamp(min=1)


@torch.no_grad()
def sample(model, schedule, config, count, generator):
    """Sequences from masks only; at each timestep the masks that the next one does not ask for are filled."""
    model.eval()
    x = torch.full((count, config.length), MASK)
    for t in reversed(range(config.timesteps)):
        probs = F.softmax(model(x, torch.full((count,), t)), -1)
        drawn = torch.multinomial(probs.flatten(0, 1), 1, generator=generator).view_as(x)
        masked = x == MASK
        before = schedule.mask_prob[t - 1] if t > 0 else torch.tensor(0.0)
        stays = torch.rand(x.shape, generator=generator) < before / schedule.mask_prob[t]
        x = torch.where(masked & ~stays, drawn, x)
    return x


def report(x, config):
    """Share of paired letters of the stems, of fully paired hairpins, of right loops, and of G and C."""
    paired = x[:, : config.stem] == 3 - x[:, -config.stem :].flip(1)
    loops = (x[:, config.stem] == LETTERS.index("G")) & (x[:, config.stem + config.loop - 1] == LETTERS.index("A"))
    stems = x[:, : config.stem]
    rich = (stems == LETTERS.index("G")) | (stems == LETTERS.index("C"))
    values = {"paired": paired, "hairpins": paired.all(1), "loops": loops, "GC": rich}
    return " ".join(f"{name} {value.float().mean().item():.4f}" for name, value in values.items())


def main():
    config = Config()
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    train, val = hairpins(6000, config, generator), hairpins(600, config, generator)
    schedule, model = Schedule(config.timesteps), Denoiser(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    total = 0.0
    for step in range(1, config.steps + 1):
        model.train()
        x = train[torch.randint(len(train), (config.batch_size,), generator=generator)]
        t = torch.randint(config.timesteps, (len(x),), generator=generator)
        loss = masked_loss(model, schedule, x, t, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += loss.item()
        if step % 100 == 0:
            model.eval()
            with torch.no_grad():
                times = torch.randint(config.timesteps, (len(val),), generator=generator)
                val_loss = masked_loss(model, schedule, val, times, generator).item()
            print(f"step {step} train {total / 100:.4f} val {val_loss:.4f}")
            total = 0.0
    samples = sample(model, schedule, config, 400, generator)
    for row in samples[:3].tolist():
        print("".join(LETTERS[token] for token in row))
    print(f"data: {report(val, config)}")
    print(f"final: {report(samples, config)}")


if __name__ == "__main__":
    main()
