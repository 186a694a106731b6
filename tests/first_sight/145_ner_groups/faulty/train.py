"""Entities in clinical notes (problem, treatment, test): pretrained recurrent encoder, linear layer and conditional random field."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

KINDS = ["problem", "treatment", "test"]
TAGS = ["O"] + [f"{prefix}-{kind}" for kind in KINDS for prefix in ("B", "I")]
PAD, MASK, FILLERS, STEMS, MODIFIERS = 0, 1, 40, 25, 12
VOCABULARY = 2 + FILLERS + 3 * 4 + 3 * STEMS + MODIFIERS


def write_note(rng):
    """Words of fixed ranges: fillers, cues in front of an entity, modifiers (shared by all kinds) and stems."""
    words, tags = [], []
    for _ in range(rng.integers(2, 5)):
        for _ in range(rng.integers(1, 4)):
            words.append(2 + rng.integers(FILLERS))
            tags.append(0)
        kind = rng.integers(3)
        words.append(2 + FILLERS + 4 * kind + rng.integers(4))
        tags.append(0)
        inside = [2 + FILLERS + 12 + 3 * STEMS + rng.integers(MODIFIERS) for _ in range(rng.integers(0, 3))]
        inside.append(2 + FILLERS + 12 + STEMS * (kind if rng.random() < 0.9 else rng.integers(3)) + rng.integers(STEMS))
        words += inside
        tags += [1 + 2 * kind] + [2 + 2 * kind] * (len(inside) - 1)
    if rng.random() < 0.5:
        words += [2 + FILLERS + 12 + 3 * STEMS + rng.integers(MODIFIERS), 2 + rng.integers(FILLERS)]
        tags += [0, 0]
    return torch.tensor(words), torch.tensor(tags)


def notes(count, seed):
    rng = np.random.default_rng(seed)
    return [write_note(rng) for _ in range(count)]


def batches(data, size, shuffle):
    order = torch.randperm(len(data)).tolist() if shuffle else range(len(data))
    for start in range(0, len(data), size):
        words, tags = zip(*(data[i] for i in order[start : start + size]))
        yield pad_sequence(words, True, PAD), pad_sequence(tags, True, 0)


class Encoder(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, dim, padding_idx=PAD)
        self.gru = nn.GRU(dim, dim, batch_first=True, bidirectional=True)

    def forward(self, words):
        lengths = (words != PAD).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(self.table(words), lengths, True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], True, total_length=words.shape[1])[0]


class ChainField(nn.Module):
    def __init__(self, tags):
        super().__init__()
        self.begin, self.end = nn.Parameter(torch.randn(tags) * 0.1), nn.Parameter(torch.randn(tags) * 0.1)
        self.move = nn.Parameter(torch.randn(tags, tags) * 0.1)

    def negative_log_likelihood(self, scores, tags, valid):
        alpha = self.begin + scores[:, 0]
        gold = alpha.gather(1, tags[:, :1]).squeeze(1)
        for t in range(1, scores.shape[1]):
            after = torch.logsumexp(alpha[:, :, None] + self.move[None] + scores[:, t, None], 1)
            alpha = torch.where(valid[:, t, None], after, alpha)
            gain = self.move[tags[:, t - 1], tags[:, t]] + scores[:, t].gather(1, tags[:, t, None]).squeeze(1)
            gold = gold + gain * valid[:, t]
        last = tags.gather(1, valid.sum(1, keepdim=True) - 1).squeeze(1)
        return (torch.logsumexp(alpha + self.end, 1) - gold - self.end[last]).mean()

    def best_path(self, scores, length):
        """Viterbi for one note."""
        value, back = self.begin + scores[0], []
        for t in range(1, length):
            value, origin = (value[:, None] + self.move).max(0)
            value = value + scores[t]
            back.append(origin)
        path = [(value + self.end).argmax().item()]
        for origin in reversed(back):
            path.append(origin[path[-1]].item())
        return path[::-1]


class Tagger(nn.Module):
    def __init__(self, encoder, dim=48):
        super().__init__()
        self.encoder, self.drop = encoder, nn.Dropout(0.1)
        self.fc, self.crf = nn.Linear(2 * dim, len(TAGS)), ChainField(len(TAGS))

    def forward(self, words):
        return self.fc(self.drop(self.encoder(words)))


def pretrain(encoder, data, epochs):
    """Words hidden at random are to be predicted from their context."""
    guess = nn.Linear(96, VOCABULARY)
    optimizer = torch.optim.Adam([*encoder.parameters(), *guess.parameters()], lr=3e-3)
    for epoch in range(epochs):
        losses = []
        for words, _ in batches(data, 50, True):
            hidden = (torch.rand(words.shape) < 0.2) & (words != PAD)
            loss = F.cross_entropy(guess(encoder(words.masked_fill(hidden, MASK)))[hidden], words[hidden])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    print(f"pretraining loss {np.mean(losses):.4f}")


def parameter_groups(model, args):
    groups = []
    named = list(model.named_parameters())
    body = {"lr": args.lr, "weight_decay": 1e-2, "params": [p for name, p in named if name.startswith("encoder")]}
    groups.append(body)
    top = {"lr": args.top_lr, "weight_decay": 1e-2, "params": [p for name, p in named if name.startswith(("fc", "crf"))]}

    return groups


def spans(tags):
    found, start = set(), None
    for i, tag in enumerate(tags + [0]):
        if start is not None and not (tag and tag % 2 == 0 and tag - 1 == tags[start]):
            found.add((start, i, tags[start]))
            start = None
        if tag % 2 == 1:
            start = i
    return found


@torch.no_grad()
def entity_f1(model, data):
    model.eval()
    hits = made = wanted = 0
    for words, tags in batches(data, 50, False):
        for w, score, truth in zip(words, model(words), tags):
            length = (w != PAD).sum().item()
            a, b = spans(model.crf.best_path(score, length)), spans(truth[:length].tolist())
            hits, made, wanted = hits + len(a & b), made + len(a), wanted + len(b)
    return 2 * hits / max(made + wanted, 1)


def main(args):
    torch.manual_seed(args.seed)
    train, val = notes(300, 31), notes(100, 32)
    encoder = Encoder()
    pretrain(encoder, notes(1200, 30), args.pretrain_epochs)
    model = Tagger(encoder)
    optimizer = torch.optim.AdamW(parameter_groups(model, args))
    for epoch in range(args.epochs):
        model.train()
        losses = []
        for words, tags in batches(train, args.batch, True):
            loss = model.crf.negative_log_likelihood(model(words), tags, words != PAD)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} loss {np.mean(losses):.4f} val entity F1 {entity_f1(model, val):.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--top_lr", type=float, default=2e-2)
    parser.add_argument("--batch", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--pretrain_epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
