"""VAE on bone patches."""
import torch
from torch import nn
from torch.nn import functional as F


class VAE(nn.Module):
    def __init__(self, latent=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.ReLU())
        self.mu = nn.Linear(64, latent)
        self.logvar = nn.Linear(64, latent)
        self.dec = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 256))

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = self.reparameterize(mu, logvar)
        return self.dec(z).view_as(x), mu, logvar


def loss_function(recon, x, mu, logvar):
    rec = F.mse_loss(recon, x)
    kld = -0.5 * torch.mean(torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1)) / x[0].numel()
    return rec + kld, rec, kld


def patches(n, gen):
    phase = torch.rand(n, 1, 1, generator=gen) * 6.28
    freq = 1 + 3 * torch.rand(n, 1, 1, generator=gen)
    yy, xx = torch.meshgrid(torch.linspace(0, 1, 16), torch.linspace(0, 1, 16), indexing="ij")
    img = torch.sin(6.28 * freq * (yy + 0.5 * xx) + phase)
    return (img + 0.1 * torch.randn(n, 16, 16, generator=gen)).unsqueeze(1)


torch.manual_seed(1)
gen = torch.Generator().manual_seed(1)
train_x, val_x = patches(512, gen), patches(64, gen)
model = VAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(4):
    model.train()
    for i in range(0, 512, 16):
        x = train_x[i:i + 16]
        recon, mu, logvar = model(x)
        loss, rec, kld = loss_function(recon, x, mu, logvar)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        recon, mu, logvar = model(val_x)
        val = F.mse_loss(recon, val_x).item()
    print(f"====> Epoch {epoch} loss {loss.item():.4f} rec {rec.item():.4f} kld {kld.item():.4f} val {val:.4f}")
