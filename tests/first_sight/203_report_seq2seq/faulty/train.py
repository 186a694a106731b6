"""Short findings reports from chest images: an encoder-decoder with labels given to forward, and a Trainer."""
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

VOCAB = ["<pad>", "<s>", "</s>", "right", "left", "upper", "lower", "small", "large", "nodule", "opacity", "clear"]
IDS = {w: i for i, w in enumerate(VOCAB)}
PAD, BOS, EOS = 0, 1, 2


class FindingsDataset(Dataset):
    def __init__(self, n, seed, size=32):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
        self.rows = []
        for _ in range(n):
            img, words = 0.3 + 0.1 * np.cos(yy / rng.uniform(6, 9)) + rng.normal(0, 0.05, (size, size)), []
            zones = [z for z in range(4) if rng.random() < 0.4]
            for z in zones:
                cy, cx = 8 + 16 * (z // 2) + rng.uniform(-3, 3), 8 + 16 * (z % 2) + rng.uniform(-3, 3)
                large, nodule = rng.random() < 0.5, rng.random() < 0.5
                d = np.hypot(yy - cy, xx - cx) / (rng.uniform(4.2, 5.2) if large else rng.uniform(1.8, 2.6))
                img += 0.6 / (1 + np.exp(np.clip(12 * (d - 1), -30, 30))) if nodule else 0.35 * np.exp(-(d**2))
                words += [("right", "left")[z % 2], ("upper", "lower")[z // 2], ("small", "large")[large], ("opacity", "nodule")[nodule]]
            ids = [IDS[w] for w in (words or ["clear"])] + [EOS]
            self.rows.append({"pixel_values": torch.tensor((img - 0.35) / 0.2, dtype=torch.float32)[None], "labels": ids})

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def data_collator(features):
    width = max(len(f["labels"]) for f in features)
    labels = torch.tensor([f["labels"] + [-100] * (width - len(f["labels"])) for f in features])
    return {"pixel_values": torch.stack([f["pixel_values"] for f in features]), "labels": labels}


def shift_tokens_right(labels, start, pad):
    shifted = labels.new_zeros(labels.shape)
    shifted[:, 1:], shifted[:, 0] = labels[:, :-1], start
    return shifted.masked_fill(shifted == -100, pad)


def causal_lm_loss(logits, labels):
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def token_loss(logits, labels):
    return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


class VisionReportModel(nn.Module):
    def __init__(self, dim=48, heads=4, layers=1, max_len=24):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 24, 3, 2, 1), nn.GELU(), nn.Conv2d(24, dim, 3, 2, 1), nn.GELU(), nn.Conv2d(dim, dim, 2, 2))
        self.patch_pos = nn.Parameter(0.02 * torch.randn(1, 16, dim))
        self.embed, self.token_pos = nn.Embedding(len(VOCAB), dim), nn.Parameter(0.02 * torch.randn(1, max_len, dim))
        block = nn.TransformerDecoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(block, layers, norm=nn.LayerNorm(dim))
        self.lm_head = nn.Linear(dim, len(VOCAB))

    def encode(self, pixel_values):
        return self.stem(pixel_values).flatten(2).transpose(1, 2) + self.patch_pos

    def decode(self, memory, ids):
        n = ids.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool).triu(1)
        return self.lm_head(self.decoder(self.embed(ids) + self.token_pos[:, :n], memory, tgt_mask=mask))

    def forward(self, pixel_values, labels=None, decoder_input_ids=None):
        if labels is not None and decoder_input_ids is None:
            decoder_input_ids = shift_tokens_right(labels, BOS, PAD)
        logits = self.decode(self.encode(pixel_values), decoder_input_ids)
        loss = None
        if labels is not None:
            loss = causal_lm_loss(logits, labels)
        return SimpleNamespace(loss=loss, logits=logits)

    @torch.no_grad()
    def generate(self, pixel_values, max_new_tokens=18):
        memory, ids = self.encode(pixel_values), torch.full((len(pixel_values), 1), BOS)
        done = torch.zeros(len(ids), dtype=torch.bool)
        for _ in range(max_new_tokens):
            nxt = self.decode(memory, ids)[:, -1].argmax(-1).masked_fill(done, PAD)
            ids, done = torch.cat([ids, nxt[:, None]], 1), done | (nxt == EOS)
            if done.all():
                break
        return ids[:, 1:]


@dataclass
class TrainingArguments:
    num_train_epochs: int = 9
    per_device_train_batch_size: int = 24
    learning_rate: float = 3e-3
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 42


class Trainer:
    def __init__(self, model, args, train_dataset, eval_dataset, collator, compute_metrics):
        self.model, self.args, self.compute_metrics = model, args, compute_metrics
        self.train_loader = DataLoader(train_dataset, args.per_device_train_batch_size, shuffle=True, collate_fn=collator)
        self.eval_loader = DataLoader(eval_dataset, 100, collate_fn=collator)

    def train(self):
        steps = self.args.num_train_epochs * len(self.train_loader)
        warm = int(self.args.warmup_ratio * steps)
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.args.learning_rate, weight_decay=self.args.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / warm, (steps - s) / (steps - warm)))
        for epoch in range(1, self.args.num_train_epochs + 1):
            self.model.train()
            losses = []
            for inputs in self.train_loader:
                loss = self.model(**inputs).loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
                optimizer.step()
                scheduler.step()
                losses.append(loss.item())
            if epoch % 3 == 0:
                print({"epoch": epoch, "loss": round(float(np.mean(losses)), 4), **self.evaluate()})

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        losses, pairs = [], []
        for inputs in self.eval_loader:
            losses.append(self.model(**inputs).loss.item())
            pairs += zip(self.model.generate(inputs["pixel_values"]).tolist(), inputs["labels"].tolist())
        return {"eval_loss": round(float(np.mean(losses)), 4), **self.compute_metrics(pairs)}


def compute_metrics(pairs):
    words = lambda ids: [VOCAB[i] for i in ids if i > EOS]
    exact = [words(p) == words(l) for p, l in pairs]
    overlap = [len(set(enumerate(words(p))) & set(enumerate(words(l)))) / max(len(words(p)), len(words(l)), 1) for p, l in pairs]
    return {"exact_match": round(float(np.mean(exact)), 3), "word_accuracy": round(float(np.mean(overlap)), 3)}


if __name__ == "__main__":
    args = TrainingArguments()
    torch.manual_seed(args.seed)
    trainer = Trainer(VisionReportModel(), args, FindingsDataset(700, 1), FindingsDataset(100, 2), data_collator, compute_metrics)
    trainer.train()
