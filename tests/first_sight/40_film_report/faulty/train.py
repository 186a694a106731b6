"""Does the report fit the film? Image and text encoder, trained with the transformers Trainer."""
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

FINDINGS = ["effusion", "nodule", "fracture"]
SIDES = ["left", "right"]
FILLER = ("comparison none technique frontal view lungs are otherwise clear heart size normal no pneumothorax mediastinum unremarkable "
          "tubes absent bones mildly osteopenic soft tissues fine history cough fever follow up recommended").split()
VOCAB = ["<pad>", "<bos>", *dict.fromkeys(FINDINGS + SIDES + FILLER)]
INDEX = {word: i for i, word in enumerate(VOCAB)}
MAX_LEN = 16


def film(rng, finding, side):
    yy, xx = np.mgrid[-1:1:32j, -1:1:32j]
    img = 0.7 - 0.4 * (((yy / 0.85) ** 2 + ((np.abs(xx) - 0.45) / 0.36) ** 2) < 1)
    s = -1 if side == "left" else 1
    if finding == "effusion":
        img = img + 0.35 * ((yy > rng.uniform(0.2, 0.45)) & (xx * s > 0.1))
    elif finding == "nodule":
        cy, cx = rng.uniform(-0.5, 0.1), s * rng.uniform(0.35, 0.55)
        img = img + 0.5 * np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / 0.015)
    else:
        c = s * rng.uniform(0.3, 0.5)
        img = img + 0.45 * (np.abs(yy - 0.8 * (xx - c) + rng.uniform(-0.3, 0.3)) < 0.07) * (np.abs(xx - c) < 0.3)
    return ((img - 0.5) / 0.25 + rng.normal(0, 0.3, img.shape)).astype(np.float32)


def report(rng, finding, side):
    words = list(rng.choice(FILLER, rng.integers(5, 20)))
    at = rng.integers(0, min(len(words), MAX_LEN - 4) + 1)
    words[at:at] = [side, finding]
    return [INDEX["<bos>"], *(INDEX[w] for w in words)][:MAX_LEN]


class FilmReports(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(n):
            seen = (rng.choice(FINDINGS), rng.choice(SIDES))
            fits, told = bool(rng.random() < 0.5), seen
            while not fits and told == seen:
                told = (rng.choice(FINDINGS), rng.choice(SIDES))
            self.items.append({"pixel_values": film(rng, *seen), "input_ids": report(rng, *told), "labels": int(fits)})

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(items):
    ids = torch.zeros(len(items), MAX_LEN, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for k, item in enumerate(items):
        ids[k, :len(item["input_ids"])] = torch.tensor(item["input_ids"])
        mask[k, :len(item["input_ids"])] = 1
    return {"pixel_values": torch.from_numpy(np.stack([i["pixel_values"] for i in items]))[:, None], "input_ids": ids,
            "attention_mask": mask, "labels": torch.tensor([i["labels"] for i in items])}


class TextEncoder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(len(VOCAB), dim, padding_idx=0), nn.GRU(dim, dim, batch_first=True)

    def forward(self, input_ids, attention_mask):
        states, _ = self.rnn(self.embed(input_ids))
        last = (attention_mask.argmin(1) - 1).clamp(min=0)
        return states[torch.arange(len(states)), last]


class FilmReportModel(nn.Module):
    def __init__(self, dim=48, ch=12):
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(1, ch, 3, padding=1), nn.BatchNorm2d(ch), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(ch, 2 * ch, 3, padding=1), nn.BatchNorm2d(2 * ch), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * ch, 2 * ch, 3, padding=1), nn.BatchNorm2d(2 * ch), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * ch, dim))
        self.text = TextEncoder(dim)
        self.head = nn.Sequential(nn.Linear(3 * dim, dim), nn.ReLU(), nn.Linear(dim, 2))

    def forward(self, pixel_values, input_ids, attention_mask, labels=None):
        a, b = self.image(pixel_values), self.text(input_ids, attention_mask)
        logits = self.head(torch.cat([a, b, a * b], 1))
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def compute_metrics(pred):
    return {"acc": float((pred.predictions.argmax(-1) == pred.label_ids).mean())}


class Report(TrainerCallback):
    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        train = [row["loss"] for row in state.log_history if "loss" in row]
        print(f"epoch {state.epoch:.0f} train_loss {float(train[-1]):.4f} val_loss {metrics['eval_loss']:.4f} val_acc {metrics['eval_acc']:.4f}", flush=True)


def main():
    set_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(folder, num_train_epochs=12, per_device_train_batch_size=32, per_device_eval_batch_size=100, learning_rate=3e-3,
                                 lr_scheduler_type="cosine", warmup_steps=20, weight_decay=0.01, eval_strategy="epoch", logging_strategy="epoch",
                                 save_strategy="no", report_to="none", use_cpu=True, remove_unused_columns=False, disable_tqdm=True, label_names=["labels"])
        trainer = Trainer(FilmReportModel(), args, train_dataset=FilmReports(1280, 0), eval_dataset=FilmReports(300, 1),
                          data_collator=collate, compute_metrics=compute_metrics, callbacks=[Report()])
        trainer.train()


if __name__ == "__main__":
    main()
