"""Variational autoencoder for sequences of laboratory visits of unequal length. Settings in config.yaml."""
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import yaml


def patients(n, seed, longest, values):
    """Padded sequences (n, longest, values) and a mask (n, longest): a slow course, shared by the values, and visits' own noise."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(7).normal(size=(3, values))
    x, mask = np.zeros((n, longest, values), np.float32), np.zeros((n, longest), np.float32)
    for i in range(n):
        t = rng.integers(5, longest + 1)
        course = rng.normal(0, 1, 3) + np.cumsum(rng.normal(0, 0.35, (t, 3)), 0)
        x[i, :t] = np.tanh(course @ mix / 2) * 1.6 + rng.normal(0, 0.15, (t, values))
        mask[i, :t] = 1
    return torch.from_numpy(x), torch.from_numpy(mask)


class VisitVAE(nn.Module):
    def __init__(self, values, hidden, latent):
        super().__init__()
        self.rnn = nn.GRU(values, hidden, batch_first=True)
        self.mean, self.log_var = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, values))

    def forward(self, x):
        h, _ = self.rnn(x)
        mean, log_var = self.mean(h), self.log_var(h).clamp(-8, 8)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp() if self.training else mean
        return self.decoder(z), mean, log_var

    def loss(self, x, mask, noise):
        """Negative evidence bound of a visit, and its two parts."""
        out, mean, log_var = self(x)
        error = 0.5 * ((out - x) ** 2).sum(-1) / noise ** 2 * mask
        kl = -0.5 * torch.sum(1 + log_var - mean ** 2 - log_var.exp(), dim=-1) * mask
        visits = mask.sum()
        error, kl = error.sum() / visits, kl.sum() / visits
        return error + kl, error, kl


@torch.no_grad()
def evaluate(model, x, mask):
    model.eval()
    out, mean, _ = model(x)
    explained = 1 - ((((out - x) ** 2).sum(-1)) * mask).sum() / (((x - (x * mask[..., None]).sum((0, 1)) / mask.sum()) ** 2).sum(-1) * mask).sum()
    return explained.item(), (mean[mask > 0].var(0) > 0.05).sum().item()


def main():
    cfg = yaml.safe_load(Path(__file__).with_name("config.yaml").read_text())
    torch.manual_seed(cfg["seed"])
    d, m = cfg["data"], cfg["model"]
    x, mask = patients(d["train"], 0, d["longest"], d["values"])
    vx, vmask = patients(d["val"], 1, d["longest"], d["values"])
    model = VisitVAE(d["values"], m["hidden"], m["latent"])
    opt = torch.optim.Adam(model.parameters(), cfg["lr"])
    for epoch in range(cfg["epochs"]):
        model.train()
        log = []
        for idx in torch.randperm(len(x)).split(d["batch"]):
            loss, error, kl = model.loss(x[idx], mask[idx], m["noise"])
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
            log.append([loss.item(), error.item(), kl.item()])
        if epoch % 5 == 4:
            loss, error, kl = np.mean(log, 0)
            explained, active = evaluate(model, vx, vmask)
            print(f"epoch {epoch} train_loss {loss:.3f} recon {error:.3f} kl {kl:.3f} val_explained {explained:.4f} active_latents {active}")


if __name__ == "__main__":
    main()
