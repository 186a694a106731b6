"""Short reports for chest radiographs: image encoder, recurrent decoder, collator and training arguments."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

FINDINGS = ("cardiomegaly", "effusion", "nodule", "opacity")
SEVERITY, SIDES = ("mild", "moderate", "severe"), ("left", "right")
WORDS = ["<pad>", "<bos>", "<eos>", "no", "acute", "findings", ".", "and", "lung", *FINDINGS, *SEVERITY, *SIDES]
PAD, BOS, EOS = 0, 1, 2
INDEX = {word: i for i, word in enumerate(WORDS)}


@dataclass
class TrainingArguments:
    num_train_epochs: int = 10
    per_device_batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    max_length: int = 24
    seed: int = 23


class Reports(Dataset):
    def __init__(self, count, seed, size=24):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        self.images, self.texts = [], []
        for _ in range(count):
            image, words = 0.4 + 0.2 * np.exp(-((x - 12) ** 2) / 12) + rng.normal(0, 0.05, (size, size)), []
            for f in np.flatnonzero(rng.random(4) < (0.25, 0.3, 0.2, 0.2)):
                grade, side = rng.integers(3), rng.integers(2)
                cx, strength = (18 if side == 0 else 6), 0.2 + 0.25 * grade
                if f == 0:
                    image = image + strength * np.exp(-((x - 13) ** 2 + (y - 16) ** 2) / 22)
                elif f == 1:
                    image = image + strength * (y > 19) * (np.abs(x - cx) < 5)
                else:
                    top, r = (6, 1.2) if f == 2 else (11, 3.0)
                    image = image + strength * np.exp(-((x - cx) ** 2 + (y - top) ** 2) / (2 * r * r))
                words += ["and"] if words else []
                words += [SEVERITY[grade], FINDINGS[f]] if f == 0 else [SEVERITY[grade], SIDES[side], "lung", FINDINGS[f]]
            words = words or ["no", "acute", "findings"]
            self.images.append(torch.tensor((image - 0.5) / 0.2, dtype=torch.float32)[None])
            self.texts.append([INDEX[word] for word in words + ["."]] + [EOS])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return {"pixel_values": self.images[i], "labels": torch.tensor(self.texts[i])}


class ReportCollator:
    def __init__(self, max_length):
        self.max_length = max_length

    def __call__(self, items):
        texts = [item["labels"][: self.max_length] for item in items]
        inputs = [torch.cat([torch.tensor([BOS]), text[:-1]]) for text in texts] + [torch.zeros(self.max_length, dtype=torch.long)]
        targets = texts + [torch.zeros(self.max_length, dtype=torch.long)]
        return {
            "pixel_values": torch.stack([item["pixel_values"] for item in items]),
            "decoder_input_ids": pad_sequence(inputs, batch_first=True, padding_value=PAD)[:-1],
            "labels": pad_sequence(targets, batch_first=True, padding_value=PAD)[:-1],
        }


class ReportModel(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 36, width), nn.ReLU(),
        )
        self.embedding = nn.Embedding(len(WORDS), width, padding_idx=PAD)
        self.decoder = nn.GRU(2 * width, width, batch_first=True)
        self.start, self.lm_head = nn.Linear(width, width), nn.Linear(width, len(WORDS))

    def forward(self, pixel_values, decoder_input_ids, labels=None):
        picture = self.encoder(pixel_values)
        steps = self.embedding(decoder_input_ids)
        steps = torch.cat([steps, picture[:, None].expand(-1, steps.shape[1], -1)], 2)
        states, _ = self.decoder(steps, self.start(picture)[None].contiguous())
        logits = self.lm_head(states)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten()) if labels is not None else None
        return {"loss": loss, "logits": logits}


class Trainer:
    def __init__(self, model, args, train_dataset, eval_dataset):
        collate = ReportCollator(args.max_length)
        self.model, self.args = model, args
        self.train_loader = DataLoader(train_dataset, args.per_device_batch_size, shuffle=True, collate_fn=collate)
        self.eval_loader = DataLoader(eval_dataset, 100, collate_fn=collate)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
        total = args.num_train_epochs * len(self.train_loader)
        self.scheduler = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1.0, 0.0, total)

    def train(self):
        for epoch in range(1, self.args.num_train_epochs + 1):
            self.model.train()
            losses = []
            for batch in self.train_loader:
                loss = self.model(**batch)["loss"]
                loss.backward()
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
                losses.append(loss.item())
            print({"epoch": epoch, "loss": round(float(np.mean(losses)), 4), **self.evaluate()})

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        nll = right = words = 0.0
        for batch in self.eval_loader:
            logits, labels = self.model(**batch)["logits"], batch["labels"]
            real = labels != -100
            nll += F.cross_entropy(logits[real], labels[real], reduction="sum").item()
            right += (logits.argmax(-1) == labels)[real].sum().item()
            words += real.sum().item()
        return {"eval_accuracy": round(right / words, 4), "eval_perplexity": round(float(np.exp(nll / words)), 4)}


if __name__ == "__main__":
    arguments = TrainingArguments()
    torch.manual_seed(arguments.seed)
    Trainer(ReportModel(), arguments, Reports(576, 1), Reports(200, 2)).train()
