"""Short chest radiograph reports: convolutional encoder, autoregressive transformer decoder, greedy decoding."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

WORDS = "<pad> <bos> <eos> . normal study nodule effusion in on the left right upper lower zone heart enlarged is size".split()
INDEX = {word: i for i, word in enumerate(WORDS)}
PAD, BOS, EOS = 0, 1, 2
LENGTH = 22


def draw_study(rng, size=32):
    """Image and report with up to three findings."""
    yy, xx = np.mgrid[0:size, 0:size] / (size - 1)
    image = 0.35 - 0.2 * np.exp(-((xx - 0.27) ** 2 / 0.02 + (yy - 0.5) ** 2 / 0.1)) - 0.2 * np.exp(-((xx - 0.73) ** 2 / 0.02 + (yy - 0.5) ** 2 / 0.1))
    text = []
    if rng.random() < 0.5:
        side, zone = rng.integers(2), rng.integers(2)
        cx, cy = 0.27 + 0.46 * side + rng.uniform(-0.06, 0.06), 0.3 + 0.36 * zone + rng.uniform(-0.06, 0.06)
        image += 0.5 * np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / 0.004)
        text += f"nodule in the {('left', 'right')[side]} {('upper', 'lower')[zone]} zone .".split()
    if rng.random() < 0.4:
        side = rng.integers(2)
        level = rng.uniform(0.78, 0.88)
        image += 0.35 / (1 + np.exp(-(yy - level) * 40)) * (np.abs(xx - 0.27 - 0.46 * side) < 0.2)
        text += f"effusion on the {('left', 'right')[side]} .".split()
    enlarged = rng.random() < 0.35
    width = rng.uniform(0.02, 0.03) if enlarged else rng.uniform(0.006, 0.01)
    image += 0.4 * np.exp(-((xx - 0.5) ** 2 / width + (yy - 0.62) ** 2 / 0.02))
    text += ["heart", "is", "enlarged", "."] if enlarged else ["heart", "size", "normal", "."]
    if len(text) == 4 and not enlarged:
        text = ["normal", "study", "."]
    tokens = [BOS] + [INDEX[word] for word in text] + [EOS]
    image = (image + rng.normal(0, 0.05, image.shape) - 0.35) / 0.2
    return image[None].astype(np.float32), np.array(tokens + [PAD] * (LENGTH - len(tokens)))


class Studies(Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        images, reports = zip(*(draw_study(rng) for _ in range(count)))
        self.images, self.reports = torch.tensor(np.stack(images)), torch.tensor(np.stack(reports))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.reports[index]


class Reporter(nn.Module):
    def __init__(self, dim=48, heads=4, depth=2):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, dim, 3, 2, 1))
        self.place = nn.Parameter(torch.randn(1, 16, dim) * 0.02)
        self.words = nn.Embedding(len(WORDS), dim, padding_idx=PAD)
        self.position = nn.Parameter(torch.randn(1, LENGTH, dim) * 0.02)
        layer = nn.TransformerDecoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, depth, norm=nn.LayerNorm(dim))
        self.out = nn.Linear(dim, len(WORDS))

    def encode(self, image):
        return self.encoder(image).flatten(2).transpose(1, 2) + self.place

    def decode(self, memory, tokens):
        steps = tokens.shape[1]
        future = torch.triu(torch.ones(steps, steps, dtype=torch.bool), 1)
        x = self.words(tokens) + self.position[:, :steps]
        return self.out(self.decoder(x, memory, tgt_mask=future))

    def forward(self, image, tokens):
        return self.decode(self.encode(image), tokens)

    @torch.no_grad()
    def generate(self, image):
        memory = self.encode(image)
        tokens = torch.full((len(image), 1), BOS)
        for _ in range(LENGTH - 1):
            following = self.decode(memory, tokens)[:, -1].argmax(-1, keepdim=True)
            tokens = torch.cat([tokens, following], 1)
        return tokens


def report_loss(model, image, report):
    logits = model(image, report)
    return F.cross_entropy(logits.flatten(0, 1), report.flatten(), ignore_index=PAD)


def sentences(tokens):
    """Set of the sentences of a report, up to the end token."""
    words = [WORDS[t] for t in tokens[1:]]
    words = words[: words.index("<eos>")] if "<eos>" in words else words
    return {part.strip() for part in " ".join(words).split(".") if part.strip()}


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    losses, hits, made, wanted = [], 0, 0, 0
    for image, report in loader:
        losses.append(report_loss(model, image, report).item())
        for a, b in zip(model.generate(image).tolist(), report.tolist()):
            a, b = sentences(a), sentences(b)
            hits, made, wanted = hits + len(a & b), made + len(a), wanted + len(b)
    return np.mean(losses), 2 * hits / (made + wanted)


def main(args):
    torch.manual_seed(args.seed)
    train_loader = DataLoader(Studies(args.train, 1), args.batch, shuffle=True, drop_last=True)
    val_loader = DataLoader(Studies(args.val, 2), args.batch)
    model = Reporter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * len(train_loader))
    for epoch in range(args.epochs):
        model.train()
        losses = []
        for image, report in train_loader:
            loss = report_loss(model, image, report)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        if (epoch + 1) % 2 == 0:
            val_loss, f1 = evaluate(model, val_loader)
            print(f"epoch {epoch + 1} train loss {np.mean(losses):.4f} val loss {val_loss:.4f} sentence F1 {f1:.3f}")
    image, report = next(iter(val_loader))
    print("example:", ". ".join(sorted(sentences(model.generate(image[:1])[0].tolist()))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--train", type=int, default=640)
    parser.add_argument("--val", type=int, default=96)
    parser.add_argument("--seed", type=int, default=3)
    main(parser.parse_args())
