"""Contrastive pretraining of chest CT volumes and radiology reports, with zero-shot detection of the findings."""
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, Dataset

FINDINGS = ["nodule", "effusion", "emphysema", "calcification", "osteolysis", "consolidation"]
PRESENT = ["there is {}", "{} is seen", "findings of {}", "known {} unchanged"]
ABSENT = ["no {}", "no sign of {}", "{} is not seen"]
SHAPE = (12, 28, 28)


def ball(centre, radius):
    grid = np.indices(SHAPE).astype(np.float32)
    scale = np.array([1.6, 1.0, 1.0], np.float32)
    distance = ((grid - np.array(centre, np.float32)[:, None, None, None]) * scale[:, None, None, None]) ** 2
    return distance.sum(0) < radius**2


def acquire(seed):
    """A thorax in Hounsfield units and its six findings."""
    rng = np.random.default_rng(seed)
    labels = rng.random(len(FINDINGS)) < 0.4
    _, rows, cols = np.indices(SHAPE)
    volume = np.full(SHAPE, -1000, np.float32)
    body = ((rows - 14) / 12.5) ** 2 + ((cols - 14) / 13.5) ** 2 < 1
    volume[body] = rng.normal(40, 8)
    lung = np.zeros(SHAPE, bool)
    for side in (8, 20):
        lung |= ((rows - 13) / 8.5) ** 2 + ((cols - side) / 4.8) ** 2 < 1
    volume[lung] = rng.normal(-930 if labels[2] else -830, 12)
    volume[:, 22:26, 12:17] = rng.normal(380 if not labels[4] else 170, 25)
    heart = ball((5, 15, 15), 4.0)
    volume[heart] = rng.normal(55, 8)
    if labels[0]:
        volume[ball((rng.integers(3, 9), rng.integers(9, 17), rng.choice([7, 8, 20, 21])), rng.uniform(1.8, 2.6))] = rng.normal(30, 15)
    if labels[1]:
        side = rng.choice([8, 20])
        volume[lung & (rows > rng.integers(16, 18)) & (abs(cols - side) < 5)] = rng.normal(10, 6)
    if labels[3]:
        volume[ball((5, 14 + rng.integers(-1, 2), 15 + rng.integers(-1, 2)), 2.2)] = rng.uniform(450, 900)
    if labels[5]:
        side = rng.choice([8, 20])
        volume[lung & (rows < 11) & (abs(cols - side) < 5)] = rng.normal(-350, 40)
    return volume + rng.normal(0, 30, SHAPE).astype(np.float32), labels.astype(np.float32)


def write_report(labels, rng):
    lines = [rng.choice(PRESENT if label else ABSENT).format(name) for name, label in zip(FINDINGS, labels)]
    rng.shuffle(lines)
    return " . ".join(lines)


class Tokenizer:
    def __init__(self):
        words = sorted({w for t in PRESENT + ABSENT for w in t.split() if w != "{}"} | set(FINDINGS) | {"."})
        self.index = {word: i + 1 for i, word in enumerate(words)}

    def __call__(self, text, length=48):
        ids = [self.index[word] for word in text.split()][:length]
        return torch.tensor(ids + [0] * (length - len(ids)))


class CTReportDataset(Dataset):
    def __init__(self, seeds, tokenizer):
        self.tokenizer = tokenizer
        self.rng = random.Random(5)
        self.cases = [acquire(seed) for seed in seeds]

    def nii_to_tensor(self, volume):
        hu_min, hu_max = -1000, 1000
        volume = np.clip(volume, hu_min, hu_max)
        volume = (volume - hu_min) / (hu_max - hu_min) * 2 - 1
        return torch.tensor(volume, dtype=torch.float32)[None]

    def __len__(self):
        return len(self.cases)

    def __getitem__(self, index):
        volume, labels = self.cases[index]
        return self.nii_to_tensor(volume), self.tokenizer(write_report(labels, self.rng))


class CTReportDatasetInfer(Dataset):
    def __init__(self, seeds):
        self.cases = [acquire(seed) for seed in seeds]

    def nii_to_tensor(self, volume):
        hu_min, hu_max = -1000, 1000
        volume = np.clip(volume, hu_min, hu_max)
        volume = (volume - hu_min) / (hu_max - hu_min) * 2 - 1
        return torch.tensor(volume, dtype=torch.float32)[None]

    def __len__(self):
        return len(self.cases)

    def __getitem__(self, index):
        volume, labels = self.cases[index]
        return self.nii_to_tensor(volume), torch.tensor(labels)


class CTReportModel(nn.Module):
    def __init__(self, vocabulary, dim=48):
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv3d(1, 12, 3, stride=(1, 2, 2), padding=1), nn.GroupNorm(4, 12), nn.ReLU(),
            nn.Conv3d(12, 24, 3, stride=2, padding=1), nn.GroupNorm(4, 24), nn.ReLU(),
            nn.Conv3d(24, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 3 * 4 * 4, dim),
        )
        self.embedding = nn.Embedding(vocabulary, 48, padding_idx=0)
        self.context = nn.Conv1d(48, 96, 5, padding=2)
        self.text = nn.Linear(96, dim)
        self.temperature = nn.Parameter(torch.tensor(2.0))

    def encode_image(self, volume):
        return F.normalize(self.image(volume), dim=-1)

    def encode_text(self, ids):
        words = torch.relu(self.context(self.embedding(ids).transpose(1, 2)))
        mask = (ids > 0).float()[:, None]
        return F.normalize(self.text((words * mask).sum(-1) / mask.sum(-1)), dim=-1)

    def forward(self, volume, ids):
        return self.temperature.exp() * self.encode_image(volume) @ self.encode_text(ids).T


@torch.no_grad()
def zero_shot(model, loader, tokenizer):
    model.eval()
    prompts = torch.stack([tokenizer(t.format(name)) for name in FINDINGS for t in ("there is {}", "no {}")])
    text = model.encode_text(prompts).view(len(FINDINGS), 2, -1)
    scores, labels = [], []
    for volume, label in loader:
        similarity = torch.einsum("bd,fpd->bfp", model.encode_image(volume), text) * model.temperature.exp()
        scores.append(similarity.softmax(-1)[..., 0])
        labels.append(label)
    scores, labels = torch.cat(scores).numpy(), torch.cat(labels).numpy()
    accuracy = ((scores > 0.5) == labels).mean()
    return [roc_auc_score(labels[:, k], scores[:, k]) for k in range(len(FINDINGS))], accuracy


def main():
    torch.manual_seed(0)
    tokenizer = Tokenizer()
    train_loader = DataLoader(CTReportDataset(range(700), tokenizer), batch_size=50, shuffle=True, drop_last=True)
    valid_loader = DataLoader(CTReportDatasetInfer(range(5000, 5300)), batch_size=50)
    model = CTReportModel(len(tokenizer.index) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    epochs = 30
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(train_loader))
    for epoch in range(1, epochs + 1):
        model.train()
        losses, hits = [], []
        for volume, ids in train_loader:
            logits = model(volume, ids)
            target = torch.arange(len(volume))
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
            hits.append((logits.topk(5, 1).indices == target[:, None]).any(1).float().mean().item())
        if epoch % 3 == 0:
            aucs, accuracy = zero_shot(model, valid_loader, tokenizer)
            print(f"epoch {epoch} contrastive loss {np.mean(losses):.3f} top-5 retrieval {np.mean(hits):.3f} "
                  f"zero-shot AUROC {np.mean(aucs):.3f} accuracy {accuracy:.3f}")
    for name, value in zip(FINDINGS, aucs):
        print(f"  {name:14s} AUROC {value:.3f}")
    torch.save(model.state_dict(), "ct_reports.pt")


if __name__ == "__main__":
    main()
