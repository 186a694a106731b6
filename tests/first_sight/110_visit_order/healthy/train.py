"""Adverse drug events from the sequence of hospital events, small transformer trained with the Trainer of transformers."""
import math
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, set_seed

PAD, CLS = 0, 1
ANTICOAGULANT, BLEEDING, TRANSFUSION = (2, 3, 4), (5, 6), 7
RISK = (8, 9, 10)
VOCABULARY, LENGTH = 48, 26


class Stays(Dataset):
    """Coded stays; the event counts as adverse if the bleeding comes after the anticoagulant was started."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(count):
            codes = list(rng.integers(11, VOCABULARY, rng.integers(10, LENGTH - 5)))
            codes += [int(rng.choice(RISK)) for _ in range(rng.binomial(2, 0.5))]
            rng.shuffle(codes)
            first, second = sorted(rng.choice(len(codes) + 1, 2, replace=False))
            adverse = rng.random() < 0.35 + 0.12 * sum(code in RISK for code in codes)
            drug, bleed = int(rng.choice(ANTICOAGULANT)), int(rng.choice(BLEEDING))
            early, late = (drug, bleed) if adverse else (bleed, drug)
            codes = codes[:first] + [early] + codes[first:second] + [late] + codes[second:]
            if rng.random() < 0.3:
                codes.append(TRANSFUSION)
            tokens = np.full(LENGTH, PAD)
            tokens[: len(codes) + 1] = [CLS, *codes][:LENGTH]
            self.items.append({"input_ids": torch.from_numpy(tokens), "labels": torch.tensor(float(adverse))})

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class PositionalEncoding(nn.Module):
    """Sines and cosines of the place in the sequence, computed when they are first needed."""

    def __init__(self, dim, dropout=0.1, max_len=256):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dim, self.max_len = dim, max_len
        self.table = None

    def forward(self, x):
        if self.table is None:
            self.table = self.make_table().to(x)
        x = x + self.table[: x.shape[1]]
        return self.dropout(x)

    def make_table(self):
        place = torch.arange(self.max_len)[:, None]
        rate = torch.exp(-math.log(1000.0) * torch.arange(0, self.dim, 2) / self.dim)
        return torch.stack([torch.sin(place * rate), torch.cos(place * rate)], -1).flatten(1)


class Block(nn.Module):
    def __init__(self, dim, heads, dropout):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim), nn.Dropout(dropout))

    def forward(self, x, padding):
        h = self.norm1(x)
        x = x + self.attention(h, h, h, key_padding_mask=padding, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class StayEncoder(nn.Module):
    def __init__(self, dim=40, heads=4, layers=2, dropout=0.05):
        super().__init__()
        self.dim = dim
        self.embedding = nn.Embedding(VOCABULARY, dim, padding_idx=PAD)
        self.pos_encoder = PositionalEncoding(dim, dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)

    def forward(self, input_ids, labels=None):
        padding = input_ids == PAD
        x = self.pos_encoder(self.embedding(input_ids) * math.sqrt(self.dim))
        for block in self.blocks:
            x = block(x, padding)
        logits = self.head(x[:, 0]).squeeze(-1)
        if labels is None:
            return {"logits": logits}
        return {"loss": F.binary_cross_entropy_with_logits(logits, labels), "logits": logits}


def compute_metrics(prediction):
    scores, labels = np.asarray(prediction.predictions).ravel(), prediction.label_ids.ravel() > 0.5
    order = scores.argsort().argsort() + 1
    positives, negatives = labels.sum(), (~labels).sum()
    auroc = (order[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    return {"auroc": float(auroc), "accuracy": float(((scores > 0) == labels).mean())}


def main():
    set_seed(31)
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(prefix="stays_"), num_train_epochs=12, per_device_train_batch_size=32, per_device_eval_batch_size=200,
        learning_rate=2e-3, warmup_steps=60, lr_scheduler_type="cosine", weight_decay=0.01, eval_strategy="epoch", save_strategy="no",
        logging_strategy="epoch", disable_tqdm=True, report_to=[], use_cpu=True,
    )
    trainer = Trainer(model=StayEncoder(), args=arguments, train_dataset=Stays(2000, 1), eval_dataset=Stays(600, 2), compute_metrics=compute_metrics)
    trainer.train()
    metrics = trainer.evaluate()
    print(f"final: loss {metrics['eval_loss']:.4f} AUROC {metrics['eval_auroc']:.4f} accuracy {metrics['eval_accuracy']:.4f}")


if __name__ == "__main__":
    main()
