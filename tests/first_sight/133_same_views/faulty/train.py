"""Self-supervised pre-training on unlabelled CT patches by contrast of two views, then a linear probe on few labels."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE = 32


def ct_patch(rng, kind):
    """Lung tissue of four patterns: healthy, ground glass, reticular, honeycomb; window and position vary by scanner."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    pattern = 0.25 * np.exp(-(((x - rng.uniform(4, 28)) ** 2 + (y - rng.uniform(4, 28)) ** 2) / rng.uniform(8, 20)))
    if kind == 1:
        pattern += 0.2 * (np.sin(u / 5 + rng.uniform(0, 6)) * np.sin(v / 6 + rng.uniform(0, 6)) > 0)
    elif kind == 2:
        pattern += 0.2 * (np.abs(np.sin(u / rng.uniform(1.6, 2.2) + rng.uniform(0, 6))) > 0.8)
    elif kind == 3:
        pattern += 0.2 * (np.sin(u / 1.5 + rng.uniform(0, 6)) * np.sin(v / 1.5 + rng.uniform(0, 6)) < -0.1)
    patch = (pattern + rng.normal(0, 0.05, pattern.shape)) * rng.uniform(0.6, 1.5) + rng.uniform(-0.4, 0.4)
    return patch[None].astype(np.float32)


class RandomTransform:
    """Base of the random transforms for dictionaries: one draw for a call, put on every key that was named."""

    def __init__(self, keys):
        self.keys = keys

    def __call__(self, data):
        state = self.randomize()
        return {k: self.apply(v, state) if k in self.keys else v for k, v in data.items()}


class RandWindow(RandomTransform):
    def randomize(self):
        return torch.empty(1).uniform_(0.5, 1.8), torch.empty(1).uniform_(-0.5, 0.5)

    def apply(self, image, state):
        return image * state[0] + state[1]


class RandFlipTurn(RandomTransform):
    def randomize(self):
        return int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)

    def apply(self, image, state):
        image = torch.rot90(image, state[0], (1, 2))
        return image.flip(2) if state[1] else image


class RandCrop(RandomTransform):
    def randomize(self):
        return torch.randint(SIZE - 24 + 1, (2,)).tolist()

    def apply(self, image, state):
        return image[:, state[0] : state[0] + 24, state[1] : state[1] + 24]


class RandNoise(RandomTransform):
    def randomize(self):
        return torch.randn(1, 24, 24) * torch.empty(1).uniform_(0, 0.08)

    def apply(self, image, state):
        return image + state


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, data):
        for transform in self.transforms:
            data = transform(data)
        return data


def view_transforms():
    kinds = (RandCrop, RandFlipTurn, RandWindow, RandNoise)
    groups = [["view_1", "view_2"]]
    return Compose([kind(keys=keys) for keys in groups for kind in kinds])


class Unlabelled(Dataset):
    def __init__(self, patches, transform):
        self.patches, self.transform = patches, transform

    def __len__(self):
        return len(self.patches)

    def __getitem__(self, index):
        patch = torch.from_numpy(self.patches[index])
        data = self.transform({"view_1": patch.clone(), "view_2": patch.clone()})
        return data["view_1"], data["view_2"]


class Encoder(nn.Module):
    def __init__(self, width, dim):
        super().__init__()
        layers, c = [], 1
        for out, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
            layers += [nn.Conv2d(c, out, 3, stride, 1), nn.BatchNorm2d(out), nn.ReLU()]
            c = out
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.projector = nn.Sequential(nn.Linear(c, c), nn.ReLU(), nn.Linear(c, dim))

    def forward(self, x):
        return self.projector(self.body(x))


def nt_xent(a, b, temperature):
    z = F.normalize(torch.cat([a, b]), dim=1)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-1e9)
    n = len(a)
    return F.cross_entropy(logits, (torch.arange(2 * n) + n) % (2 * n))


def pretrain(encoder, loader, args):
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=args.lr, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(loader))
    for epoch in range(args.epochs):
        encoder.train()
        losses = []
        for first, second in loader:
            loss = nt_xent(encoder(first), encoder(second), args.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1:2d} contrastive loss {np.mean(losses):.3f}")


@torch.no_grad()
def features(encoder, patches):
    encoder.eval()
    return encoder.body(torch.from_numpy(patches)[:, :, 4:28, 4:28])


def probe(encoder, labelled, test, steps=300):
    """Accuracy of a linear layer on the frozen features."""
    (x, y), (x_test, y_test) = labelled, test
    train, held_out = features(encoder, x), features(encoder, x_test)
    mean, std = train.mean(0), train.std(0) + 1e-6
    linear = nn.Linear(train.shape[1], 4)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=1e-2, weight_decay=1e-2)
    for _ in range(steps):
        loss = F.cross_entropy(linear((train - mean) / std), torch.from_numpy(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (linear((held_out - mean) / std).argmax(1).numpy() == y_test).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--temperature", type=float, default=0.2)
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    kinds = [rng.integers(0, 4, n) for n in (768, 96, 400)]
    pool, few, test = (np.stack([ct_patch(rng, k) for k in group]) for group in kinds)
    loader = DataLoader(Unlabelled(pool, view_transforms()), args.batch, shuffle=True, drop_last=True)
    encoder = Encoder(12, 32)
    print(f"probe before pre-training: accuracy {probe(encoder, (few, kinds[1]), (test, kinds[2])):.3f}")
    pretrain(encoder, loader, args)
    print(f"probe after pre-training: accuracy {probe(encoder, (few, kinds[1]), (test, kinds[2])):.3f}")


if __name__ == "__main__":
    main()
