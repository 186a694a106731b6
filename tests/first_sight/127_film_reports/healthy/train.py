"""Reports of chest films: a small encoder reads the film, a GRU with attention writes the report word by word."""
import argparse
from collections import Counter

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SPECIAL = ["<pad>", "<bos>", "<eos>"]
PAD, BOS, EOS = range(3)
ZONES = ["left upper", "left lower", "right upper", "right lower"]
FINDINGS = {"nodule": 2.2, "consolidation": 6.0, "mass": 4.0}
NORMAL = "the lungs are clear . no effusion . the heart is of normal size ."
HEARTS = ["the heart is of normal size .", "the heart is enlarged ."]


def make_case(rng, size=32):
    """A film and its report; the report names zone and finding twice, as reports do."""
    y, x = np.mgrid[:size, :size]
    film = 0.3 + 0.1 * np.sin(x / 3 + rng.uniform(0, 6)) + rng.normal(0, 0.08, (size, size))
    large = rng.random() < 0.4
    film += 0.5 * (np.hypot((x - size / 2) / (8 if large else 4.5), (y - 23) / 5) < 1)
    if rng.random() < 0.15:
        return film, NORMAL if not large else NORMAL.replace("of normal size", "enlarged")
    zone, finding = int(rng.integers(4)), str(rng.choice(list(FINDINGS)))
    centre = (8 if zone < 2 else size - 8) + rng.uniform(-2, 2), (8 if zone % 2 == 0 else size - 8) + rng.uniform(-2, 2)
    film += 0.55 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / FINDINGS[finding] ** 2)
    opening = rng.choice(["there is a", "new", "persistent"])
    close = rng.choice(["follow up of the", "please correlate the", "ct is advised for the"])
    text = f"{opening} {finding} in the {ZONES[zone]} zone . {HEARTS[int(large)]} {close} {ZONES[zone]} {finding} ."
    return film, text


class Vocabulary:
    def __init__(self, texts):
        self.words = SPECIAL + sorted({word for text in texts for word in text.split()})
        self.index = {word: i for i, word in enumerate(self.words)}

    def encode(self, text, length):
        ids = [BOS, *(self.index[word] for word in text.split()), EOS]
        return torch.tensor(ids + [PAD] * (length - len(ids)))

    def decode(self, ids):
        words = []
        for i in ids:
            if i == EOS:
                break
            words.append(self.words[i])
        return words


class Films(Dataset):
    def __init__(self, cases, vocabulary, length=32):
        self.films = torch.tensor(np.array([film for film, _ in cases])[:, None], dtype=torch.float32)
        self.reports = torch.stack([vocabulary.encode(text, length) for _, text in cases])

    def __len__(self):
        return len(self.films)

    def __getitem__(self, index):
        return self.films[index], self.reports[index]


class ReportWriter(nn.Module):
    def __init__(self, words, dim=64):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, dim, 3, stride=2, padding=1),
        )
        self.place = nn.Parameter(torch.randn(16, dim) * 0.1)
        self.embedding = nn.Embedding(words, dim, padding_idx=PAD)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.start = nn.Linear(dim, dim)
        self.out = nn.Linear(2 * dim, words)

    def encode(self, films):
        memory = self.encoder(films).flatten(2).transpose(1, 2) + self.place
        return memory, torch.tanh(self.start(memory.mean(1))).unsqueeze(0)

    def decode(self, words, memory, state):
        h, state = self.gru(self.embedding(words), state)
        context, _ = self.attention(h, memory, memory, need_weights=False)
        return self.out(torch.cat([h, context], -1)), state

    def forward(self, films, words):
        memory, state = self.encode(films)
        return self.decode(words, memory, state)[0]

    @torch.no_grad()
    def generate(self, films, length):
        """Greedy decoding, (films, length) word numbers."""
        memory, state = self.encode(films)
        word, written = torch.full((len(films), 1), BOS), []
        for _ in range(length):
            logits, state = self.decode(word, memory, state)
            word = logits.argmax(-1)
            written.append(word)
        return torch.cat(written, 1)


def bleu(pairs, order=4):
    """Corpus BLEU with n-grams up to `order`."""
    hits, totals, given, wanted = np.zeros(order), np.zeros(order), 0, 0
    for candidate, reference in pairs:
        given, wanted = given + len(candidate), wanted + len(reference)
        for n in range(1, order + 1):
            grams = [Counter(zip(*(text[i:] for i in range(n)))) for text in (candidate, reference)]
            hits[n - 1] += sum((grams[0] & grams[1]).values())
            totals[n - 1] += sum(grams[0].values())
    penalty = min(1.0, np.exp(1 - wanted / max(given, 1)))
    return penalty * np.exp(np.log(np.maximum(hits, 1e-9) / np.maximum(totals, 1)).mean())


@torch.no_grad()
def evaluate(model, loader, vocabulary):
    model.eval()
    loss, pairs = 0.0, []
    for films, reports in loader:
        logits = model(films, reports[:, :-1])
        loss += F.cross_entropy(logits.flatten(0, 1), reports[:, 1:].flatten(), ignore_index=PAD).item()
        written = model.generate(films, reports.shape[1] - 1)
        pairs += [(vocabulary.decode(a), vocabulary.decode(b)) for a, b in zip(written.tolist(), reports[:, 1:].tolist())]
    return loss / len(loader), bleu(pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train-cases", type=int, default=900)
    parser.add_argument("--val-cases", type=int, default=240)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=2e-3)
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    cases = [make_case(rng) for _ in range(args.train_cases + args.val_cases)]
    vocabulary = Vocabulary(text for _, text in cases)
    train_loader = DataLoader(Films(cases[: args.train_cases], vocabulary), batch_size=30, shuffle=True)
    val_loader = DataLoader(Films(cases[args.train_cases :], vocabulary), batch_size=60)
    model = ReportWriter(len(vocabulary.words))
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        model.train()
        for films, reports in train_loader:
            logits = model(films, reports[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), reports[:, 1:].flatten(), ignore_index=PAD)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        val_loss, score = evaluate(model, val_loader, vocabulary)
        print(f"epoch {epoch:2d} training loss {loss.item():.4f} validation loss {val_loss:.4f} BLEU-4 {score:.4f}")
    films, _ = next(iter(val_loader))
    for ids in model.generate(films[:3], 31).tolist():
        print("-", " ".join(vocabulary.decode(ids)))


if __name__ == "__main__":
    main()
