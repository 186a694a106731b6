# %% Motor imagery (left or right hand) from symmetric pairs of EEG electrodes, 1D CNN
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SEED, FS, SECONDS = 3, 64, 2
PAIRS = ["FC3-FC4", "C5-C6", "C3-C4", "C1-C2"]
rng = np.random.default_rng(SEED)
torch.manual_seed(SEED)


# %% Recordings: every trial is an array of 4 pairs x 2 sides x samples
def record_trial(hand):
    """Background rhythms reach all electrodes; imagining one hand weakens the mu rhythm over the opposite side."""
    t = np.arange(FS * SECONDS) / FS
    background = sum(rng.uniform(0.5, 1.0) * np.sin(2 * np.pi * rng.uniform(2, 28) * t + rng.uniform(0, 2 * np.pi)) for _ in range(4))
    gain = np.exp(rng.normal(0, 0.22, 2))
    gain[1 - hand] *= 0.58
    phase, f_mu = rng.uniform(0, 2 * np.pi, 2), rng.uniform(9, 12)
    trial = np.empty((len(PAIRS), 2, len(t)), np.float32)
    for p in range(len(PAIRS)):
        for side in range(2):
            mu = gain[side] * rng.uniform(0.9, 1.1) * np.sin(2 * np.pi * f_mu * t + phase[side])
            trial[p, side] = rng.uniform(0.85, 1.15) * background + mu + rng.normal(0, 0.35, len(t))
    return trial


subjects, trials_each = 10, 36
hands = np.concatenate([rng.permutation(np.arange(trials_each) % 2) for _ in range(subjects)])
recordings = np.stack([record_trial(h) for h in hands])
print("recordings", recordings.shape, "right hand", hands.mean())

# %% Every pair of electrodes becomes one example of the network
x = recordings.reshape(-1, 2, FS * SECONDS)
y = np.repeat(hands, len(PAIRS))
trial = np.repeat(np.arange(len(hands)), len(PAIRS))
pair = np.tile(np.arange(len(PAIRS)), len(hands))
x = (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True)
print("examples", x.shape)


# %% Hold-out sets
def holdout(units, fraction, seed):
    """True for the examples of a random fraction of the units."""
    names = np.unique(units)
    drawn = np.random.default_rng(seed).permutation(names)[: round(fraction * len(names))]
    return np.isin(units, drawn)


units = np.arange(len(y))
test = holdout(units, 0.2, seed=1)
val = holdout(units, 0.2, seed=2) & ~test
train = ~test & ~val
print("train", train.sum(), "val", val.sum(), "test", test.sum())


def loader(rows, shuffle=False):
    data = TensorDataset(torch.from_numpy(x[rows]), torch.from_numpy(y[rows]))
    return DataLoader(data, 32 if shuffle else 256, shuffle=shuffle)


train_loader, val_loader, test_loader = loader(train, True), loader(val), loader(test)

# %% Network
model = nn.Sequential(
    nn.Conv1d(2, 16, 9, 2, 4), nn.BatchNorm1d(16), nn.ReLU(),
    nn.Conv1d(16, 24, 9, 2, 4), nn.BatchNorm1d(24), nn.ReLU(),
    nn.Flatten(), nn.Dropout(0.4),
    nn.Linear(24 * FS * SECONDS // 4, 64), nn.ReLU(), nn.Dropout(0.4),
    nn.Linear(64, 2),
)
print("parameters", sum(p.numel() for p in model.parameters()))


# %% Training with early stopping on the validation loss
@torch.no_grad()
def evaluate(batches):
    model.eval()
    loss = correct = count = 0
    for xb, yb in batches:
        out = model(xb)
        loss += nn.functional.cross_entropy(out, yb, reduction="sum").item()
        correct += (out.argmax(1) == yb).sum().item()
        count += len(yb)
    return loss / count, correct / count


optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=1e-3)
best_loss, best_state, patience = float("inf"), None, 0
for epoch in range(18):
    model.train()
    hits = 0
    for xb, yb in train_loader:
        out = model(xb)
        loss = nn.functional.cross_entropy(out, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        hits += (out.argmax(1) == yb).sum().item()
    val_loss, val_acc = evaluate(val_loader)
    print(f"epoch {epoch:2d} train acc {hits / train.sum():.3f} val loss {val_loss:.3f} val acc {val_acc:.3f}")
    if val_loss < best_loss:
        best_loss, patience = val_loss, 0
        best_state = {k: v.clone() for k, v in model.state_dict().items()}
    else:
        patience += 1
        if patience == 6:
            break

# %% Test
model.load_state_dict(best_state)
test_loss, test_acc = evaluate(test_loader)
print(f"test loss {test_loss:.3f} test acc {test_acc:.3f}")
for k, name in enumerate(PAIRS):
    print(f"  {name}: {evaluate(loader(test & (pair == k)))[1]:.3f}")
