"""Contrastive pretraining on single heart beats, then a linear probe with few labels.

Beats of the same patient attract each other, beats of other patients of the batch repel each other.
"""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SETTINGS = dict(beats_per_patient=4, patients_per_batch=16, neighbours=3, pretrain_steps=260, lr=1e-3, dim=32, labelled=60)
SAMPLES, CLASSES = 96, 5


def bump(t, centre, width):
    return np.exp(-((t - centre) ** 2) / (2 * width**2))


def patient_beats(rng, kind, count):
    """Beats of one patient: the rhythm class fixes the shape, every beat has its own gain, drift and noise."""
    t = np.linspace(0, 1, SAMPLES)
    r_width, t_height, p_height, st = 0.02, 0.3, 0.15, 0.0
    if kind == 1:
        p_height = 0.0
    elif kind == 2:
        r_width = 0.045
    elif kind == 3:
        t_height = -0.25
    elif kind == 4:
        st = 0.22
    own = rng.normal(0, 1, 4)
    beats = []
    for _ in range(count):
        shift = rng.uniform(-0.03, 0.03)
        wave = (1 + 0.1 * own[0]) * bump(t, 0.4 + shift, r_width * (1 + 0.1 * own[1])) - 0.2 * bump(t, 0.45 + shift, 0.015)
        wave = wave + p_height * bump(t, 0.25 + shift, 0.025) + t_height * (1 + 0.15 * own[2]) * bump(t, 0.68 + shift + 0.01 * own[3], 0.05)
        wave = wave + st * bump(t, 0.54 + shift, 0.05)
        drift = rng.normal(0, 0.5) * np.sin(2 * np.pi * (rng.uniform(0.3, 1.0) * t + rng.random())) + rng.normal(0, 0.4)
        beats.append(rng.uniform(0.6, 1.5) * wave + drift + rng.normal(0, 0.05, SAMPLES))
    return np.stack(beats)


def cohort(patients, seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, CLASSES, patients)
    beats = np.stack([patient_beats(rng, kind, SETTINGS["beats_per_patient"]) for kind in kinds])
    return torch.tensor(beats, dtype=torch.float32), torch.tensor(kinds)


class BeatEncoder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 16, 7, 2, 3), nn.BatchNorm1d(16), nn.ReLU(),
            nn.Conv1d(16, 32, 5, 2, 2), nn.BatchNorm1d(32), nn.ReLU(),
            nn.Conv1d(32, 32, 5, 2, 2), nn.BatchNorm1d(32), nn.ReLU(),
        )
        self.out = nn.Linear(32 * 12, dim)

    def forward(self, beats):
        return self.out(self.body(beats.unsqueeze(1)).flatten(1))


class ContrastivePretrainer:
    def __init__(self, encoder, settings, seed):
        self.encoder, self.k = encoder, settings["neighbours"]
        self.settings = settings
        self.optimizer = torch.optim.Adam(encoder.parameters(), lr=settings["lr"])
        self.criterion = nn.CosineEmbeddingLoss(margin=0.0)
        self.generator = torch.Generator().manual_seed(seed)

    def draw_neighbours(self, owner):
        """For each beat the indices of k beats of its patient and of k beats of other patients."""
        same = owner[:, None] == owner[None, :]
        noise = torch.rand(same.shape, generator=self.generator)
        itself = torch.eye(len(owner), dtype=torch.bool)
        near = noise.masked_fill(~same | itself, -1).topk(self.k, 1).indices
        far = noise.masked_fill(same, -1).topk(self.k, 1).indices
        return near, far

    def contrastive_loss(self, embedded, owner):
        near, far = self.draw_neighbours(owner)
        parts = [embedded[near].flatten(0, 1), embedded[far].flatten(0, 1)]
        signs = torch.cat([torch.ones(len(parts[0])), -torch.ones(len(parts[1]))])
        others = torch.cat(parts)
        anchors = embedded.repeat_interleave(self.k * len(parts), 0)
        return self.criterion(anchors, others, signs)

    def fit(self, beats):
        self.encoder.train()
        size, history = self.settings["patients_per_batch"], []
        for step in range(self.settings["pretrain_steps"]):
            chosen = torch.randperm(len(beats), generator=self.generator)[:size]
            owner = torch.arange(size).repeat_interleave(beats.shape[1])
            loss = self.contrastive_loss(self.encoder(beats[chosen].flatten(0, 1)), owner)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            history.append(loss.item())
            if (step + 1) % 65 == 0:
                print(f"pretraining step {step + 1} loss {np.mean(history[-65:]):.4f}")


@torch.no_grad()
def embed(encoder, beats):
    encoder.eval()
    return F.normalize(encoder(beats.flatten(0, 1)), dim=1)


def linear_probe(train, train_y, test, test_y, steps=400):
    mean, std = train.mean(0), train.std(0) + 1e-6
    train, test = (train - mean) / std, (test - mean) / std
    head = nn.Linear(train.shape[1], CLASSES)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02, weight_decay=1e-3)
    for _ in range(steps):
        loss = F.cross_entropy(head(train), train_y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return tuple((head(x).argmax(1) == y).float().mean().item() for x, y in ((train, train_y), (test, test_y)))


def main():
    torch.manual_seed(1)
    beats, kinds = cohort(600, 21)
    test_beats, test_kinds = cohort(200, 22)
    encoder = BeatEncoder(SETTINGS["dim"])
    few, per = SETTINGS["labelled"], SETTINGS["beats_per_patient"]
    y, test_y = kinds[:few].repeat_interleave(per), test_kinds.repeat_interleave(per)
    ContrastivePretrainer(encoder, SETTINGS, seed=5).fit(beats)
    fit_accuracy, accuracy = linear_probe(embed(encoder, beats[:few]), y, embed(encoder, test_beats), test_y)
    print(f"linear probe on {few} labelled patients: fit accuracy {fit_accuracy:.4f}, test accuracy {accuracy:.4f}")
    flat = embed(encoder, test_beats)
    similarity, owner = flat @ flat.T, torch.arange(len(test_beats)).repeat_interleave(per)
    same = (owner[:, None] == owner[None]) & ~torch.eye(len(owner), dtype=torch.bool)
    print(f"mean cosine within patients {similarity[same].mean():.4f}, between patients {similarity[owner[:, None] != owner[None]].mean():.4f}")


if __name__ == "__main__":
    main()
