"""Haemorrhage in head CT: which of its kinds, if any, from the slices of a study, with attention over slices."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from attention import SliceAttention

NAMES = ("none", "intraparenchymal", "subdural", "intraventricular")
SLICES, SIZE = 10, 32


def make_study(kind, rng):
    """(SLICES, SIZE, SIZE); the bleeding shows in two or three neighbouring slices."""
    yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    first = rng.integers(1, SLICES - 3)
    shown = set(range(first, first + rng.integers(2, 4)))
    side = rng.choice([-1, 1])
    cy, cx, r = rng.uniform(-5, 5), side * rng.uniform(3, 6), rng.uniform(2.2, 3.2)
    volume = []
    for z in range(SLICES):
        scale = 1 - 0.03 * abs(z - 4)
        a, b = 13.5 * scale, 11 * scale
        d = np.sqrt((yy / a) ** 2 + (xx / b) ** 2)
        image = np.where(d < 1, 0.5, 0.05)
        image[(d > 0.93) & (d < 1.05)] = 1.0
        ventricle = ((yy + 1) / 4.5) ** 2 + ((np.abs(xx) - 2.2) / 1.4) ** 2 < 1
        image[ventricle] = 0.3
        if z in shown and kind == 1:
            image[((yy - cy) ** 2 + (xx - cx) ** 2 < r * r) & (d < 0.85)] = 0.85
        elif z in shown and kind == 2:
            image[(d > 0.74) & (d < 0.93) & (xx * side > 3)] = 0.85
        elif z in shown and kind == 3:
            image[ventricle & (yy > -1)] = 0.85
        volume.append(image + rng.normal(0, 0.05, image.shape))
    return np.stack(volume).astype(np.float32)


class Studies(Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, len(NAMES), count)
        self.volumes = (np.stack([make_study(k, rng) for k in self.labels]) - 0.4) / 0.3

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.volumes[i]).float(), int(self.labels[i])


class StudyNet(nn.Module):
    def __init__(self, ch=16, dim=48):
        super().__init__()

        def block(cin, cout):
            return [nn.Conv2d(cin, cout, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]

        self.cnn = nn.Sequential(*block(1, ch), *block(ch, 2 * ch), *block(2 * ch, 2 * ch), nn.Flatten(), nn.Linear(2 * ch * 16, dim), nn.ReLU())
        self.query = nn.Parameter(0.1 * torch.randn(dim))
        self.attention = SliceAttention(dim)
        self.head = nn.Linear(dim, len(NAMES))

    def forward(self, volume):
        batch, count = volume.shape[:2]
        slices = self.cnn(volume.flatten(0, 1)[:, None]).view(batch, count, -1)
        mix, weights = self.attention(self.query.expand(batch, -1), slices)
        return self.head(mix), weights


@torch.no_grad()
def evaluate(model, dataset):
    """Studies come one by one, as in the clinic."""
    model.eval()
    logits = torch.cat([model(volume)[0] for volume, _ in DataLoader(dataset, batch_size=1)])
    labels = torch.from_numpy(dataset.labels)
    return (logits.argmax(1) == labels).float().mean().item(), F.cross_entropy(logits, labels).item()


def main():
    torch.manual_seed(0)
    loader = DataLoader(Studies(360, 1), batch_size=12, shuffle=True)
    val = Studies(160, 2)
    model = StudyNet()
    epochs = 9
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        model.train()
        total = right = 0.0
        for volume, label in loader:
            logits, _ = model(volume)
            loss = F.cross_entropy(logits, label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
            right += (logits.argmax(1) == label).sum().item()
        scheduler.step()
        line = f"epoch {epoch} loss {total / len(loader):.4f} train accuracy {right / len(loader.dataset):.3f}"
        if epoch % 3 == 0:
            accuracy, nll = evaluate(model, val)
            line += f" val accuracy {accuracy:.3f} nll {nll:.3f}"
        print(line)
    torch.save(model.state_dict(), "study.pt")


if __name__ == "__main__":
    main()
