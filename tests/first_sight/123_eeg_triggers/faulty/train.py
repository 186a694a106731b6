"""Left or right hand motor imagery from EEG: epochs are cut at the triggers of continuous recordings, then a small CNN."""
import numpy as np
import torch
import torch.nn as nn
from scipy.signal import butter, sosfiltfilt

CHANNELS = ("FC3", "FC4", "C3", "C1", "Cz", "C2", "C4", "CP3", "CP4", "Pz")
RATE = 100
INSTRUCTION, IMAGERY, BREAK = 1, 2, 3
EPOCH_SECONDS = 3.0
LEFT_SIDE, RIGHT_SIDE = (0, 2, 3, 7), (1, 5, 6, 8)


def record_session(trials, rng):
    """A continuous recording (channels, samples), its trigger channel and the table of hands, one row a trial."""
    hands = rng.permutation(np.arange(trials) % 2)
    lengths = np.stack([rng.integers(180, 220, trials), np.full(trials, 400), rng.integers(200, 300, trials)], 1)
    samples = int(lengths.sum()) + 200
    power = np.ones((len(CHANNELS), samples))
    stim = np.zeros(samples, dtype=int)
    position, depth = 100, rng.uniform(0.3, 0.5)
    for hand, (instruct, imagine, rest) in zip(hands, lengths):
        stim[position] = INSTRUCTION
        stim[position + instruct] = IMAGERY
        stim[position + instruct + imagine] = BREAK
        span = slice(position + instruct + 30, position + instruct + imagine)
        power[list(LEFT_SIDE if hand == 1 else RIGHT_SIDE), span] *= 1 - depth
        position += instruct + imagine + rest
    mixing = np.eye(len(CHANNELS)) + rng.normal(0, 0.12, (len(CHANNELS),) * 2)
    eeg = mixing @ (power * rhythm(samples, rng)) + 0.8 * np.cumsum(rng.normal(0, 0.15, power.shape), 1)
    return eeg + rng.normal(0, 0.4, eeg.shape), stim, hands


def rhythm(samples, rng):
    """Mu rhythm of every channel, with an amplitude that comes and goes."""
    sos = butter(2, (9, 13), btype="band", fs=RATE, output="sos")
    waves = sosfiltfilt(sos, rng.normal(0, 1, (len(CHANNELS), samples)))
    return 1.6 * waves / waves.std(1, keepdims=True)


def find_events(stim, hands):
    """Sample at which the imagery of every trial begins, with the hand of that trial."""
    onsets = np.flatnonzero(stim)[: len(hands)]
    return list(zip(onsets, hands))


def cut_epochs(eeg, events):
    sos = butter(4, (4, 30), btype="band", fs=RATE, output="sos")
    filtered = sosfiltfilt(sos, eeg)
    filtered = filtered / filtered.std(1, keepdims=True)
    length = int(EPOCH_SECONDS * RATE)
    epochs = np.stack([filtered[:, onset + 50 : onset + 50 + length] for onset, _ in events])
    return epochs, np.array([hand for _, hand in events])


def load_subjects(subjects, sessions, seed):
    rng = np.random.default_rng(seed)
    epochs, labels = [], []
    for _ in range(subjects * sessions):
        eeg, stim, hands = record_session(40, rng)
        x, y = cut_epochs(eeg, find_events(stim, hands))
        epochs.append(x)
        labels.append(y)
    return torch.tensor(np.concatenate(epochs), dtype=torch.float32), torch.tensor(np.concatenate(labels))


class ShallowNet(nn.Module):
    """Temporal filters, spatial filters, log power: the usual shallow network for band power."""

    def __init__(self, filters=12, dropout=0.4):
        super().__init__()
        self.temporal = nn.Conv2d(1, filters, (1, 25), padding=(0, 12), bias=False)
        self.spatial = nn.Conv2d(filters, filters, (len(CHANNELS), 1), bias=False)
        self.norm = nn.BatchNorm2d(filters)
        self.pool = nn.AvgPool2d((1, 75), stride=(1, 25))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(filters * 10, 2)

    def forward(self, x):
        h = self.norm(self.spatial(self.temporal(x.unsqueeze(1))))
        h = torch.log(self.pool(h.square()).clamp_min(1e-6))
        return self.classifier(self.dropout(h.flatten(1)))


def train_epoch(model, x, y, optimizer, criterion, batch=32):
    model.train()
    total = 0.0
    for index in torch.randperm(len(x)).split(batch):
        loss = criterion(model(x[index]), y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(index)
    return total / len(x)


@torch.no_grad()
def evaluate(model, x, y, criterion):
    model.eval()
    logits = model(x)
    return criterion(logits, y).item(), (logits.argmax(1) == y).float().mean().item()


def main():
    torch.manual_seed(3)
    x_train, y_train = load_subjects(12, 2, seed=10)
    x_val, y_val = load_subjects(5, 2, seed=20)
    print(f"{len(x_train)} training epochs of 12 subjects, {len(x_val)} validation epochs of 5 others")
    model = ShallowNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(1, 13):
        loss = train_epoch(model, x_train, y_train, optimizer, criterion)
        val_loss, accuracy = evaluate(model, x_val, y_val, criterion)
        print(f"epoch {epoch:2d} training loss {loss:.4f} validation loss {val_loss:.4f} accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
