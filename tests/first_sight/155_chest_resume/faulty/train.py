"""Chest films: an encoder learned by reconstruction is frozen, a classifier is trained on it, saved, and read back for the test."""
import argparse
import os
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE = 32


def films(count, seed):
    """Two lungs, ribs and a heart; the positive half shows an opacity in one lung."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    images, labels = np.zeros((count, 1, SIZE, SIZE), np.float32), rng.integers(0, 2, count)
    for i, label in enumerate(labels):
        dx, dy, scale = rng.normal(0, 0.02), rng.normal(0, 0.02), rng.uniform(0.9, 1.1)
        image = np.full((SIZE, SIZE), 0.75)
        for side in (-1, 1):
            lung = ((x - 0.5 - dx - 0.22 * side) / (0.16 * scale)) ** 2 + ((y - 0.5 - dy) / (0.34 * scale)) ** 2
            image -= 0.45 / (1 + np.exp(10 * (lung - 1)))
        image += 0.06 * np.sin(2 * np.pi * (y * rng.uniform(6, 8) + 0.3 * np.abs(x - 0.5) + rng.uniform()))
        image += 0.25 * np.exp(-(((x - 0.55 - dx) / 0.12) ** 2 + ((y - 0.65 - dy) / 0.12) ** 2))
        if label:
            cx, cy = 0.5 + dx + rng.choice([-1, 1]) * rng.uniform(0.2, 0.25), rng.uniform(0.35, 0.65)
            image += rng.uniform(0.2, 0.35) * np.exp(-(((x - cx) / 0.07) ** 2 + ((y - cy) / 0.07) ** 2))
        images[i, 0] = image + rng.normal(0, 0.05, image.shape)
    return TensorDataset((torch.from_numpy(images) - 0.6) / 0.2, torch.from_numpy(labels).float())


class Encoder(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, 2, 1), nn.GroupNorm(4, width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1), nn.GroupNorm(4, 2 * width), nn.ReLU(),
        )

    def forward(self, x):
        return self.layers(x)


class Decoder(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(width, 1, 4, 2, 1)
        )

    def forward(self, h):
        return self.layers(h)


class Classifier(nn.Module):
    def __init__(self, encoder, width=16):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Conv2d(2 * width, 32, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def forward(self, x):
        return self.head(self.encoder(x))[:, 0]


def learn_encoder(loader, epochs):
    encoder, decoder = Encoder(), Decoder()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
    for epoch in range(epochs):
        for image, _ in loader:
            loss = F.mse_loss(decoder(encoder(image)), image)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"encoder: reconstruction error of the last batch {loss.item():.4f}")
    return encoder


def save_checkpoint(model, optimizer, epoch, path):
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    torch.save({"model": weights, "optimizer": optimizer.state_dict(), "epoch": epoch}, path)


def load_checkpoint(model, path):
    checkpoint = torch.load(path)
    model.load_state_dict(checkpoint["model"], strict=False)
    return checkpoint["epoch"]


@torch.no_grad()
def auc(model, loader):
    model.eval()
    scores, labels = zip(*((model(image), label) for image, label in loader))
    scores, labels = torch.cat(scores), torch.cat(labels) > 0.5
    return (scores[labels][:, None] > scores[~labels]).float().mean().item()


def train_classifier(model, loader, valid, epochs, lr, path):
    for weight in model.encoder.parameters():
        weight.requires_grad_(False)
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=lr)
    best = 0.0
    for epoch in range(1, epochs + 1):
        model.train()
        for image, label in loader:
            loss = F.binary_cross_entropy_with_logits(model(image), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        score = auc(model, valid)
        print(f"epoch {epoch} loss {loss.item():.4f} validation AUC {score:.4f}")
        if score > best:
            best = score
            save_checkpoint(model, optimizer, epoch, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=3e-3)
    options = parser.parse_args()
    torch.manual_seed(5)
    train, valid, test = (DataLoader(films(n, seed), 32, shuffle=seed == 1) for n, seed in ((800, 1), (300, 2), (300, 3)))
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "best.pt")
        train_classifier(Classifier(learn_encoder(train, 3)), train, valid, options.epochs, options.lr, file)
        model = Classifier(Encoder())
        epoch = load_checkpoint(model, file)
    print(f"checkpoint of epoch {epoch}: validation AUC {auc(model, valid):.4f}, test AUC {auc(model, test):.4f}")
