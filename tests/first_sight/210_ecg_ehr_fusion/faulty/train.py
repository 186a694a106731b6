"""Two modalities of an emergency department (ECG beat and laboratory values) fused for the diagnosis of infarction."""
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


# ---------------------------------------------------------------- data
def patients(count, seed):
    rng = np.random.default_rng(seed)
    t = np.linspace(-0.4, 0.5, 96)
    state = rng.choice(3, count, p=[0.5, 0.25, 0.25])  # 0 healthy, 1 infarction with elevation, 2 infarction without
    ecg, labs = np.empty((count, 1, len(t)), np.float32), np.empty((count, 10), np.float32)
    for i, s in enumerate(state):
        rise = rng.normal(0.16, 0.07) if s == 1 else rng.normal(0.0, 0.05)
        beat = 0.15 * np.exp(-((t + 0.17) ** 2) / 0.0012) + np.exp(-(t**2) / 0.0004) - 0.2 * np.exp(-((t - 0.04) ** 2) / 0.0004)
        beat += rise * ((t > 0.05) & (t < 0.2)) + rng.normal(0.3, 0.06) * np.exp(-((t - 0.27) ** 2) / 0.004)
        wander = 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 1.2) * t + rng.uniform(0, 6))
        ecg[i, 0] = beat * rng.uniform(0.8, 1.2) + wander + rng.normal(0, 0.05, len(t))
        labs[i] = rng.normal(0, 1, 10)
        labs[i, 3] += 1.9 * (s == 2) + 0.7 * (s == 1)
        labs[i, 6] += 1.3 * (s == 2)
    age = labs[:, 0] > 0
    flip = rng.random(count) < np.where(age, 0.04, 0.02)
    y = ((state > 0) ^ flip).astype(np.int64)
    return TensorDataset(torch.from_numpy(ecg), torch.from_numpy(labs), torch.from_numpy(y))


def get_dataloader(batch_size=32):
    train, valid, test = patients(900, 0), patients(240, 1), patients(600, 2)
    return DataLoader(train, batch_size, shuffle=True, drop_last=True), DataLoader(valid, 6), DataLoader(test, batch_size)


# ---------------------------------------------------------------- unimodal encoders, fusion, head
class WaveEncoder(nn.Module):
    def __init__(self, out, drop):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, 12, 7, 2, 3), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(drop),
            nn.Conv1d(12, 24, 5, 2, 2), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(drop),
            nn.AdaptiveAvgPool1d(6), nn.Flatten(), nn.Linear(144, out),
        )

    def forward(self, x):
        return self.net(x)


class TableEncoder(nn.Module):
    def __init__(self, cin, out, drop):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(cin, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(drop), nn.Linear(32, out))

    def forward(self, x):
        return self.net(x)


class Concat(nn.Module):
    def forward(self, parts):
        return torch.cat([p.flatten(1) for p in parts], 1)


def mlp(cin, hidden, out, drop):
    return nn.Sequential(nn.Linear(cin, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(drop), nn.Linear(hidden, out))


class MMDL(nn.Module):
    """Encoders of all modalities, their fusion and the head in one module."""

    def __init__(self, encoders, fusion, head):
        super().__init__()
        self.encoders, self.fuse, self.head = nn.ModuleList(encoders), fusion, head

    def forward(self, inputs):
        return self.head(self.fuse([enc(x) for enc, x in zip(self.encoders, inputs)]))


# ---------------------------------------------------------------- training structure
def accuracy(truth, guess):
    return (truth == guess).float().mean().item()


def auprc(truth, score):
    order = score.argsort(descending=True)
    hit = truth[order].float()
    precision = hit.cumsum(0) / torch.arange(1, len(hit) + 1)
    return ((precision * hit).sum() / hit.sum()).item()


def train(encoders, fusion, head, train_dataloader, valid_dataloader, total_epochs, lr=1e-3, weight_decay=1e-4, early_stop=True, patience=5, objective=nn.CrossEntropyLoss()):
    model = MMDL(encoders, fusion, head)
    op = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    bestvalloss, bestweights, waiting = float("inf"), None, 0
    for epoch in range(total_epochs):
        totalloss, totals = 0.0, 0
        model.train()
        for *inputs, y in train_dataloader:
            op.zero_grad()
            loss = objective(model(inputs), y)
            loss.backward()
            op.step()
            totalloss += loss.item() * len(y)
            totals += len(y)
        print(f"Epoch {epoch} train loss: {totalloss / totals:.4f}")
        model.eval()
        with torch.no_grad():
            totalloss, pred, true, pts = 0.0, [], [], []
            model.train()
            for *inputs, y in valid_dataloader:
                out = model(inputs)
                totalloss += objective(out, y).item() * len(y)
                pred.append(out.argmax(1))
                pts.append(out.softmax(1)[:, 1])
                true.append(y)
        pred, true, pts = torch.cat(pred), torch.cat(true), torch.cat(pts)
        valloss = totalloss / len(true)
        print(f"Epoch {epoch} valid loss: {valloss:.4f} acc: {accuracy(true, pred):.4f} auprc: {auprc(true, pts):.4f}")
        if valloss < bestvalloss:
            bestvalloss, waiting = valloss, 0
            bestweights = {k: v.clone() for k, v in model.state_dict().items()}
            print("Saving Best")
        else:
            waiting += 1
        if early_stop and waiting > patience:
            break
    model.load_state_dict(bestweights)
    return model, bestvalloss


@torch.no_grad()
def single_test(model, test_dataloader, criterion=nn.CrossEntropyLoss(reduction="sum")):
    model.eval()
    out, true = zip(*[(model(inputs), y) for *inputs, y in test_dataloader])
    out, true = torch.cat(out), torch.cat(true)
    return {"loss": criterion(out, true).item() / len(true), "acc": accuracy(true, out.argmax(1)), "auprc": auprc(true, out.softmax(1)[:, 1])}


if __name__ == "__main__":
    torch.manual_seed(6)
    start = time.time()
    traindata, validdata, testdata = get_dataloader()
    encoders = [WaveEncoder(24, 0.3), TableEncoder(10, 24, 0.4)]
    model, best = train(encoders, Concat(), mlp(48, 48, 2, 0.5), traindata, validdata, total_epochs=16)
    result = single_test(model, testdata)
    print(f"best valid loss: {best:.4f}")
    print(f"test loss: {result['loss']:.4f} acc: {result['acc']:.4f} auprc: {result['auprc']:.4f} ({time.time() - start:.0f} s)")
