"""New images of stained cells from a variational autoencoder; samples are compared with held-out cells."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE = 20


def cells(count, seed):
    """One cell each: cytoplasm, nucleus off centre, brightness and shape at random."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    images = np.zeros((count, 1, SIZE, SIZE), np.float32)
    for image in images[:, 0]:
        radius, stretch, angle = rng.uniform(0.25, 0.4), rng.uniform(0.8, 1.2), rng.uniform(0, np.pi)
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        body = np.sqrt((u * stretch) ** 2 + (v / stretch) ** 2)
        cy, cx = rng.uniform(-0.1, 0.1, 2)
        nucleus = np.sqrt((x - cx) ** 2 + (y - cy) ** 2)
        image += rng.uniform(0.3, 0.5) / (1 + np.exp(40 * (body - radius)))
        image += rng.uniform(0.3, 0.5) / (1 + np.exp(60 * (nucleus - radius * rng.uniform(0.3, 0.5))))
        image += rng.normal(0, 0.02, image.shape)
    return torch.from_numpy(images.clip(0, 1))


class VAE(nn.Module):
    def __init__(self, latent, epsilon_std, width=128):
        super().__init__()
        self.latent, self.epsilon_std = latent, epsilon_std
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, width), nn.ReLU(), nn.Linear(width, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, SIZE * SIZE), nn.Sigmoid())

    def decode(self, z):
        return self.decoder(z).view(-1, 1, SIZE, SIZE)

    def forward(self, x):
        mean, log_var = self.encoder(x).chunk(2, 1)
        z = mean + (0.5 * log_var).exp() * self.epsilon_std * torch.randn_like(mean)
        return self.decode(z), mean, log_var

    @torch.no_grad()
    def sample(self, count):
        self.eval()
        return self.decode(torch.randn(count, self.latent))


def negative_bound(x, output, sigma=0.25):
    """Gaussian reconstruction with known noise and divergence from the standard normal prior, summed within an image."""
    recon, mean, log_var = output
    distortion = F.mse_loss(recon, x, reduction="none").flatten(1).sum(1) / (2 * sigma**2)
    divergence = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(1)
    return distortion.mean(), divergence.mean()


def frechet(a, b, components=10):
    """Frechet distance of two sets of images in the leading principal components of the second."""
    a, b = a.flatten(1), b.flatten(1)
    basis = torch.linalg.svd(b - b.mean(0), full_matrices=False)[2][:components].T
    a, b = a @ basis, b @ basis
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    root = torch.linalg.eigvals(ca @ cb).real.clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + ca.trace() + cb.trace() - 2 * root).item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latent", type=int, default=8)
    parser.add_argument("--epsilon-std", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--lr", type=float, default=2e-3)
    args = parser.parse_args()
    torch.manual_seed(1)
    train, held_out = cells(1500, 1), cells(800, 2)
    loader = DataLoader(TensorDataset(train), 50, shuffle=True)
    model = VAE(args.latent, args.epsilon_std)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        model.train()
        parts = []
        for (x,) in loader:
            distortion, divergence = negative_bound(x, model(x))
            optimizer.zero_grad()
            (distortion + divergence).backward()
            optimizer.step()
            parts.append((distortion.item(), divergence.item()))
        if epoch % 6 == 0:
            distortion, divergence = np.mean(parts, 0)
            distance = frechet(model.sample(800), held_out)
            print(f"epoch {epoch:2d} reconstruction {distortion:.3f} divergence {divergence:.3f} frechet {distance:.3f}")
    samples = model.sample(800)
    print(f"held-out cells: mean {held_out.mean():.3f}, frechet to training cells {frechet(train, held_out):.3f}")
    print(f"samples: mean {samples.mean():.3f}, frechet {frechet(samples, held_out):.3f}")
