"""Recognition of six activities from three-axis accelerometer windows with a GRU over short-time features."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

ACTIVITIES = ["lying", "sitting", "walking", "stairs", "running", "cycling"]
PER_ACTIVITY, LENGTH, RATE = 160, 96, 32
torch.manual_seed(12)
rng = np.random.default_rng(12)


def record(kind):
    """One window of a recording: gravity in the posture of the activity, periodic movement, tremor."""
    t = np.arange(LENGTH) / RATE
    gravity = {0: (0.1, 0.95, 0.2), 1: (0.3, 0.2, 0.9), 5: (0.75, 0.1, 0.6)}.get(kind, (0.95, 0.1, 0.2))
    cadence, force = {2: (1.8, 0.35), 3: (1.5, 0.4), 4: (2.7, 0.9), 5: (1.3, 0.25)}.get(kind, (0.3, 0.02))
    cadence, force = cadence * rng.uniform(0.85, 1.15), force * rng.uniform(0.6, 1.4)
    phase = rng.uniform(0, 2 * np.pi)
    swing = np.sin(2 * np.pi * cadence * t + phase)
    second = (0.7 if kind == 3 else 0.25) * np.sin(4 * np.pi * cadence * t + 2 * phase + rng.uniform(-0.5, 0.5))
    axes = np.array([1.0, 0.4, 0.6]) * rng.uniform(0.7, 1.3, 3)
    window = np.array(gravity)[:, None] + rng.normal(0, 0.12, (3, 1)) + force * axes[:, None] * (swing + second)
    return window + rng.normal(0, 0.12, (3, LENGTH))


# all recordings and what was done in them
signals = np.stack([record(kind) for kind in range(len(ACTIVITIES)) for _ in range(PER_ACTIVITY)]).astype(np.float32)
labels = np.repeat(np.arange(len(ACTIVITIES)), PER_ACTIVITY)

held_out = len(labels) // 5
order = rng.permutation(len(labels))
train_index, valid_index = order[:-held_out], order[-held_out:]
mean, std = signals[train_index].mean((0, 2), keepdims=True), signals[train_index].std((0, 2), keepdims=True)
signals = torch.from_numpy((signals - mean) / std)
labels = torch.from_numpy(labels)
print(f"{len(train_index)} windows to learn from, {len(valid_index)} held out")


class Recogniser(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.frontend = nn.Conv1d(3, 24, 8, 4, 2)
        self.gru = nn.GRU(24, hidden, batch_first=True)
        self.head = nn.Linear(hidden, len(ACTIVITIES))

    def forward(self, x):
        h = F.relu(self.frontend(x)).transpose(1, 2)
        states, _ = self.gru(h)
        return self.head(states.mean(1))


model = Recogniser()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(1, 11):
    model.train()
    loss_sum = hits = 0.0
    for batch in torch.from_numpy(train_index)[torch.randperm(len(train_index))].split(32):
        logits = model(signals[batch])
        loss = F.cross_entropy(logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(batch)
        hits += (logits.argmax(1) == labels[batch]).sum().item()
    model.eval()
    with torch.no_grad():
        logits = model(signals[valid_index])
        val_loss = F.cross_entropy(logits, labels[valid_index]).item()
        val_accuracy = (logits.argmax(1) == labels[valid_index]).float().mean().item()
    print(
        f"epoch {epoch:2d} loss {loss_sum / len(train_index):.4f} accuracy {hits / len(train_index):.4f} "
        f"val_loss {val_loss:.4f} val_accuracy {val_accuracy:.4f}"
    )
