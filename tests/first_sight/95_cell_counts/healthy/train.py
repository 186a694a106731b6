"""A variational autoencoder for single-cell counts with a negative binomial likelihood."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch.distributions import Normal, kl_divergence
from torch.utils.data import DataLoader, TensorDataset


def simulate_cells(cells=1300, genes=120, types=5, seed=4):
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 1, genes)
    programs = rng.normal(0, 0.8, (types, genes)) * (rng.random((types, genes)) < 0.3)
    label = rng.integers(0, types, cells)
    library = rng.lognormal(6.2, 0.35, (cells, 1))
    rate = np.exp(base + programs[label] + rng.normal(0, 0.15, (cells, genes)))
    mean = library * rate / rate.sum(1, keepdims=True)
    counts = rng.poisson(rng.gamma(2.0, mean / 2.0))
    return torch.tensor(counts, dtype=torch.float32), label


def log_nb(x, mu, theta, eps=1e-8):
    total = torch.log(theta + mu + eps)
    return (theta * (torch.log(theta + eps) - total) + x * (torch.log(mu + eps) - total)
            + torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1))


class CountModule(nn.Module):
    def __init__(self, genes, hidden=96, latent=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(genes, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.1))
        self.z_mean, self.z_log_var = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, genes))
        self.log_theta = nn.Parameter(torch.zeros(genes))

    def inference(self, x):
        h = self.encoder(torch.log1p(x))
        return Normal(self.z_mean(h), torch.exp(0.5 * self.z_log_var(h).clamp(-8, 8)))

    def generative(self, z, library):
        return library * F.softmax(self.decoder(z), dim=-1), self.log_theta.exp()

    def loss(self, x, kl_weight=1.0):
        qz = self.inference(x)
        mu, theta = self.generative(qz.rsample(), x.sum(1, keepdim=True))
        reconst_loss = -log_nb(x, mu, theta).sum(-1)
        kl = kl_divergence(qz, Normal(torch.zeros_like(qz.loc), torch.ones_like(qz.scale))).sum(-1)
        return {"loss": (reconst_loss + kl_weight * kl).mean(), "reconstruction_loss": reconst_loss, "kl_local": kl}


def compute_elbo(module, loader):
    elbo = 0.0
    for (x,) in loader:
        out = module.loss(x)
        elbo += torch.sum(out["reconstruction_loss"] + out["kl_local"]).item()
    return elbo / len(loader.dataset)


def compute_reconstruction_error(module, loader):
    log_lkl = {}
    for (x,) in loader:
        rec_loss_dict = {"reconstruction_loss": module.loss(x)["reconstruction_loss"]}
        for key, value in rec_loss_dict.items():
            if key in log_lkl:
                log_lkl[key] += torch.sum(value).item()
            else:
                log_lkl[key] = torch.sum(value).item()
    return {key: value / len(loader.dataset) for key, value in log_lkl.items()}


class CountModel:
    def __init__(self, counts, train_size=0.8, batch_size=128, seed=0):
        torch.manual_seed(seed)
        order = torch.randperm(len(counts))
        cut = int(train_size * len(counts))
        self.counts, self.batch_size = counts, batch_size
        self.train_indices, self.validation_indices = order[:cut], order[cut:]
        self.module = CountModule(counts.shape[1])
        self.history = []

    def make_loader(self, indices, shuffle=False):
        return DataLoader(TensorDataset(self.counts[indices]), batch_size=self.batch_size, shuffle=shuffle)

    def train(self, max_epochs=150, lr=2e-3, warmup=40):
        optimizer = torch.optim.Adam(self.module.parameters(), lr=lr, weight_decay=1e-6)
        loader = self.make_loader(self.train_indices, shuffle=True)
        for epoch in range(1, max_epochs + 1):
            self.module.train()
            for (x,) in loader:
                loss = self.module.loss(x, kl_weight=min(1.0, epoch / warmup))["loss"]
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if epoch % 15 == 0:
                train_error = self.get_reconstruction_error(self.train_indices)["reconstruction_loss"]
                validation_error = self.get_reconstruction_error(self.validation_indices)["reconstruction_loss"]
                self.history.append((train_error, validation_error))
                print(f"epoch {epoch} loss {loss.item():.2f} reconstruction error train {train_error:.2f} "
                      f"validation {validation_error:.2f}")

    @torch.no_grad()
    def get_elbo(self, indices):
        self.module.eval()
        return compute_elbo(self.module, self.make_loader(indices))

    @torch.no_grad()
    def get_reconstruction_error(self, indices):
        self.module.eval()
        return compute_reconstruction_error(self.module, self.make_loader(indices))

    @torch.no_grad()
    def get_latent_representation(self, indices):
        self.module.eval()
        return torch.cat([self.module.inference(x).loc for (x,) in self.make_loader(indices)]).numpy()


def main():
    counts, label = simulate_cells()
    model = CountModel(counts)
    model.train()
    for name, indices in (("train", model.train_indices), ("validation", model.validation_indices)):
        latent = model.get_latent_representation(indices)
        clusters = KMeans(5, n_init=5, random_state=0).fit_predict(latent)
        error = model.get_reconstruction_error(indices)["reconstruction_loss"]
        print(f"{name}: reconstruction error {error:.2f}, negative ELBO {model.get_elbo(indices):.2f}, "
              f"ARI with the cell types {adjusted_rand_score(label[indices], clusters):.3f}")


if __name__ == "__main__":
    main()
