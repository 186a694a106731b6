# Variational autoencoder of galaxy stamps (exported from the notebook vae_stamps.ipynb)

# %%
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

SIZE = 32
LATENT = 12
NOISE = 0.08  # standard deviation of the observation model
BATCH = 64
EPOCHS = 10

torch.manual_seed(17)
rng = np.random.default_rng(17)


# %% Stamps: a bulge, a disc with two arms or a bar, a few field stars
def stamp():
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    x, y = x - rng.normal(0, 1.5), y - rng.normal(0, 1.5)
    angle, ratio, scale = rng.uniform(0, np.pi), rng.uniform(0.35, 1.0), rng.uniform(3.0, 7.5)
    u = x * np.cos(angle) + y * np.sin(angle)
    v = (y * np.cos(angle) - x * np.sin(angle)) / ratio
    radius = np.hypot(u, v)
    disc = np.exp(-radius / scale)
    if rng.random() < 0.5:
        turn = rng.choice([-1, 1])
        disc *= 1 + 0.8 * np.cos(2 * np.arctan2(v, u) + turn * radius * 0.7) * (radius > 2)
    else:
        disc += 0.6 * np.exp(-((u / (1.2 * scale)) ** 2) - (v / 1.5) ** 2)
    image = rng.uniform(0.5, 0.8) * disc + 0.5 * np.exp(-((radius / 1.8) ** 2))
    for _ in range(rng.poisson(0.4)):
        a, b = rng.uniform(-15, 15, 2)
        image += 0.6 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 1.5)
    return np.clip(image + rng.normal(0, 0.02, image.shape), 0, 1)


stamps = torch.tensor(np.stack([stamp() for _ in range(3000)])[:, None], dtype=torch.float32)
train_loader = DataLoader(stamps[:2400], batch_size=BATCH, shuffle=True)
val_loader = DataLoader(stamps[2400:], batch_size=200)
mean_stamp = stamps[:2400].mean(0)


# %% Model
class VAE(nn.Module):
    def __init__(self, latent=LATENT, width=16):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(2 * width * 16, 128), nn.SiLU(),
        )
        self.mean, self.log_var = nn.Linear(128, latent), nn.Linear(128, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, 128), nn.SiLU(), nn.Linear(128, 2 * width * 16), nn.SiLU(), nn.Unflatten(1, (2 * width, 4, 4)),
            nn.ConvTranspose2d(2 * width, 2 * width, 4, stride=2, padding=1), nn.SiLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1), nn.SiLU(),
            nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
        )

    def forward(self, x):
        h = self.encoder(x)
        mean, log_var = self.mean(h), self.log_var(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var) if self.training else mean
        return self.decoder(z), mean, log_var


def elbo_terms(output, x, mean, log_var):
    reconstruction = ((output - x) ** 2 / (2 * NOISE**2)).mean(dim=(1, 2, 3))
    divergence = -0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).sum(dim=1)
    return reconstruction.mean(), divergence.mean()


# %% Training
model = VAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(1, EPOCHS + 1):
    model.train()
    sums = np.zeros(2)
    for x in train_loader:
        output, mean, log_var = model(x)
        reconstruction, divergence = elbo_terms(output, x, mean, log_var)
        loss = reconstruction + divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums += np.array([reconstruction.item(), divergence.item()]) * len(x)

    model.eval()
    with torch.no_grad():
        outputs = torch.cat([model(x)[0].clamp(0, 1) for x in val_loader])
    error = F.mse_loss(outputs, stamps[2400:]).item()
    rec, kl = sums / 2400
    print(f"epoch {epoch:2d} reconstruction {rec:.4f} KL {kl:.4f} validation MSE {error:.5f} spread {outputs.std(0).mean():.4f}")

# %% Against the mean stamp, which needs no network
baseline = F.mse_loss(mean_stamp.expand_as(stamps[2400:]), stamps[2400:]).item()
print(f"mean stamp MSE {baseline:.5f}, autoencoder MSE {error:.5f}")

# %% New galaxies from the prior
with torch.no_grad():
    samples = model.decoder(torch.randn(200, LATENT)).clamp(0, 1)
print(f"total brightness of samples {samples.sum((1, 2, 3)).mean():.1f} +- {samples.sum((1, 2, 3)).std():.1f}, "
      f"of stamps {stamps.sum((1, 2, 3)).mean():.1f} +- {stamps.sum((1, 2, 3)).std():.1f}")
