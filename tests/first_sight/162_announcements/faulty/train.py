"""A small character model of railway announcements: pre-norm transformer blocks, own initialisation, warm-up and cosine decay."""
import math
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

CITIES = "Arlen Borsk Cadiz Dover Eltham Fjord Genoa Halle Imola Jena".split()
REASONS = ["a signal fault", "heavy snow", "works on the line", "a late crew"]
BLOCK, BATCH, STEPS, WARMUP, RATE = 48, 24, 220, 20, 4e-3


def announcements(count, seed):
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        start, end = rng.sample(CITIES, 2)
        track, minutes = rng.randint(1, 12), 5 * rng.randint(1, 9)
        line = f"train from {start} to {end} leaves from track {track}"
        if rng.random() < 0.5:
            line += f", {minutes} minutes late because of {rng.choice(REASONS)}"
        lines.append(line + ".\n")
    return "".join(lines)


class LayerNorm(nn.Module):
    def __init__(self, size, eps=1e-5):
        super().__init__()
        self.gamma, self.beta, self.eps = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size)), eps

    def forward(self, x):
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return self.gamma * (x - mean) / torch.sqrt(var + self.eps) + self.beta


class Block(nn.Module):
    def __init__(self, size, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = LayerNorm(size), LayerNorm(size)
        self.qkv, self.merge = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.mlp = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.merge(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class CharacterModel(nn.Module):
    def __init__(self, vocabulary, size=48, heads=4, depth=2, init_range=0.02):
        super().__init__()
        self.init_range = init_range
        self.tokens, self.places = nn.Embedding(vocabulary, size), nn.Embedding(BLOCK, size)
        self.blocks = nn.Sequential(*(Block(size, heads) for _ in range(depth)))
        self.norm, self.head = LayerNorm(size), nn.Linear(size, vocabulary)
        self.apply(self.init_weights)

    def init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, mean=0.0, std=self.init_range)
        elif isinstance(module, LayerNorm):
            nn.init.normal_(module.beta, mean=0.0, std=self.init_range)
            nn.init.normal_(module.gamma, mean=0.0, std=self.init_range)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def forward(self, ids):
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def batch(data, generator):
    starts = torch.randint(len(data) - BLOCK, (BATCH,), generator=generator)
    window = torch.stack([data[s : s + BLOCK + 1] for s in starts.tolist()])
    return window[:, :-1], window[:, 1:]


@torch.no_grad()
def bits(model, data):
    """Bits per character over the whole text, in windows that do not overlap."""
    model.eval()
    windows = data[: (len(data) - 1) // BLOCK * BLOCK + 1].unfold(0, BLOCK + 1, BLOCK)
    loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
    return loss.item() / math.log(2)


@torch.no_grad()
def speak(model, symbols, prompt, length, generator):
    model.eval()
    ids = torch.tensor([[symbols.index(c) for c in prompt]])
    for _ in range(length):
        probability = (model(ids[:, -BLOCK:])[:, -1] / 0.5).softmax(-1)
        ids = torch.cat([ids, torch.multinomial(probability, 1, generator=generator)], 1)
    return "".join(symbols[i] for i in ids[0].tolist())


def main():
    torch.manual_seed(13)
    text, held_out = announcements(1500, 1), announcements(150, 2)
    symbols = sorted(set(text))
    train, valid = (torch.tensor([symbols.index(c) for c in part]) for part in (text, held_out))
    model, generator = CharacterModel(len(symbols)), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: (s + 1) / WARMUP if s < WARMUP else 0.5 * (1 + math.cos(math.pi * (s - WARMUP) / (STEPS - WARMUP)))
    )
    for step in range(1, STEPS + 1):
        model.train()
        x, y = batch(train, generator)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        if step % 55 == 0:
            print(f"step {step} loss {loss.item():.4f} validation bits per character {bits(model, valid):.4f}")
    print(speak(model, symbols, "train from ", 90, generator).replace("\n", " | "))


if __name__ == "__main__":
    main()
