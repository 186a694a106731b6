"""Short findings for chest radiographs: CNN encoder, GRU decoder, Hugging Face Trainer."""
import random

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

SIDES, LOBES = ["left", "right"], ["upper", "lower"]
WORDS = "the heart is enlarged normal size . nodule in left right upper lower lobe no effusion seen".split()
VOCAB = ["<pad>", "<bos>", "<eos>"] + sorted(set(WORDS))
INDEX = {w: i for i, w in enumerate(VOCAB)}
PAD, BOS, EOS = 0, 1, 2
MAX_LEN = 28


def study(rng):
    """(1, 32, 32) image and its report."""
    yy, xx = np.meshgrid(np.linspace(-1, 1, 32), np.linspace(-1, 1, 32), indexing="ij")
    image = 0.6 - 0.5 * (np.exp(-((xx - 0.5) / 0.3) ** 4 - (yy / 0.75) ** 4) + np.exp(-((xx + 0.5) / 0.3) ** 4 - (yy / 0.75) ** 4))
    big = rng.random() < 0.5
    image += 0.6 * np.exp(-((xx - 0.1) / (0.45 if big else 0.22)) ** 4 - ((yy - 0.35) / 0.3) ** 4)
    text = ["the heart is enlarged ." if big else "the heart size is normal ."]
    for side in (0, 1):
        for lobe in (0, 1):
            if rng.random() < 0.3:
                cx, cy = (0.5 if side == 0 else -0.5), (-0.4 if lobe == 0 else 0.3)
                image += 0.8 * np.exp(-(((xx - cx - rng.uniform(-0.08, 0.08)) ** 2 + (yy - cy - rng.uniform(-0.08, 0.08)) ** 2) / 0.015))
                text.append(f"nodule in the {SIDES[side]} {LOBES[lobe]} lobe .")
    if rng.random() < 0.4:
        side = int(rng.random() < 0.5)
        image += 0.7 * (yy > 0.62) * (np.sign(xx) == (1 if side == 0 else -1))
        text.append(f"{SIDES[side]} effusion .")
    return (image + rng.normal(0, 0.05, image.shape)).astype(np.float32)[None], " ".join(text)


def tokenize(text):
    return [BOS] + [INDEX[w] for w in text.split()]


class Reports(Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.studies = [study(rng) for _ in range(count)]

    def __len__(self):
        return len(self.studies)

    def __getitem__(self, i):
        image, text = self.studies[i]
        return {"pixel_values": torch.from_numpy(image), "labels": tokenize(text)[:MAX_LEN]}


def collate(features):
    longest = max(len(f["labels"]) for f in features)
    ids = torch.full((len(features), longest), PAD)
    for row, f in zip(ids, features):
        row[:len(f["labels"])] = torch.tensor(f["labels"])
    return {"pixel_values": torch.stack([f["pixel_values"] for f in features]), "labels": ids}


class ReportModel(nn.Module):
    def __init__(self, dim=96):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(),
                                     nn.Flatten(), nn.Linear(512, dim), nn.Tanh())
        self.embed = nn.Embedding(len(VOCAB), dim, padding_idx=PAD)
        self.rnn = nn.GRU(2 * dim, dim, batch_first=True)
        self.head = nn.Linear(dim, len(VOCAB))

    def decode(self, ids, context, state):
        out, state = self.rnn(torch.cat([self.embed(ids), context[:, None].expand(-1, ids.shape[1], -1)], -1), state)
        return self.head(out), state

    def forward(self, pixel_values, labels):
        context = self.encoder(pixel_values)
        logits, _ = self.decode(labels[:, :-1], context, context[None].contiguous())
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=PAD)
        return {"loss": loss, "logits": logits}

    @torch.no_grad()
    def generate(self, pixel_values):
        context = self.encoder(pixel_values)
        state, ids, out = context[None].contiguous(), torch.full((len(pixel_values), 1), BOS), []
        for _ in range(MAX_LEN):
            logits, state = self.decode(ids, context, state)
            logits[..., [PAD, BOS]] = -torch.inf
            ids = logits[:, -1:].argmax(-1)
            out.append(ids)
        return torch.cat(out, 1)


def to_text(ids):
    words = []
    for i in ids.tolist():
        if i == EOS:
            break
        words.append(VOCAB[i])
    return words


def overlap_f1(guess, truth):
    """F1 of word bigrams."""
    pairs = lambda w: [*zip(["^"] + w, w)]
    a, b = pairs(guess), pairs(truth)
    common = sum(min(a.count(g), b.count(g)) for g in set(a))
    return 2 * common / (len(a) + len(b))


class ReportCallback(TrainerCallback):
    def __init__(self, data):
        self.images = torch.stack([torch.from_numpy(s[0]) for s in data.studies])
        self.texts = [s[1].split() for s in data.studies]

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        if round(state.epoch) % 4:
            return
        model.eval()
        guesses = [to_text(row) for row in model.generate(self.images)]
        f1 = np.mean([overlap_f1(g, t) for g, t in zip(guesses, self.texts)])
        exact = np.mean([g == t for g, t in zip(guesses, self.texts)])
        print(f"epoch {round(state.epoch)} bigram_f1 {f1:.3f} exact {exact:.3f} words {np.mean([len(g) for g in guesses]):.1f} (reports {np.mean([len(t) for t in self.texts]):.1f})")
        model.train()


def main():
    set_seed(0)
    random.seed(0)
    train, val = Reports(1200, 1), Reports(150, 2)
    args = TrainingArguments(output_dir="out", num_train_epochs=16, per_device_train_batch_size=32, learning_rate=3e-3, lr_scheduler_type="cosine",
                             use_cpu=True, save_strategy="no", report_to=[], logging_strategy="epoch", disable_tqdm=True, remove_unused_columns=False)
    Trainer(model=ReportModel(), args=args, train_dataset=train, data_collator=collate, callbacks=[ReportCallback(val)]).train()


if __name__ == "__main__":
    main()
