"""Fill the gaps in hourly vital signs of intensive care stays.

fit() watches the validation error, stops early and goes back to the best epoch; impute() fills what is missing.
"""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

HOURS = 24
SIGNALS = ("heart rate", "systolic", "diastolic", "resp rate", "SpO2", "temperature")


def make_stays(count, seed):
    """Standardised vital signs: a few shared slow processes, mixed per signal, and measurement noise."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(0, 1, (4, len(SIGNALS))) / 2
    hours = np.arange(HOURS)
    latent = np.zeros((count, HOURS, 4))
    latent[:, :, 0] = rng.normal(0, 1, (count, 1))
    latent[:, :, 1] = rng.normal(0, 1, (count, 1)) * (hours / 12 - 1)
    latent[:, :, 2] = rng.normal(0, 1, (count, 1)) * np.sin(2 * np.pi * (hours + rng.uniform(-4, 4, (count, 1))) / 24)
    latent[:, :, 3] = 1.5 / (1 + np.exp(-(hours - rng.uniform(4, 20, (count, 1))))) * rng.choice([-1, 0, 1], (count, 1))
    values = latent @ mixing + rng.normal(0, 0.35, (count, HOURS, len(SIGNALS)))
    observed = rng.random(values.shape) > 0.25
    held_out = observed & (rng.random(values.shape) < 0.3)
    return [torch.tensor(a, dtype=torch.float32) for a in (values, observed & ~held_out, held_out)]


class GapNet(nn.Module):
    def __init__(self, hidden=384):
        super().__init__()
        size = HOURS * len(SIGNALS)
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * size, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, size)
        )

    def forward(self, values, mask):
        return self.layers(torch.cat([values * mask, mask], 1)).view_as(values)


class Imputer:
    def __init__(self, epochs=300, patience=40, batch_size=25, lr=1e-3):
        self.epochs, self.patience, self.batch_size, self.lr = epochs, patience, batch_size, lr
        self.model = GapNet()
        self.best_error, self.best_epoch, self.best_weights = float("inf"), 0, None

    @staticmethod
    def masked_mae(output, values, where):
        return ((output - values).abs() * where).sum() / where.sum()

    def train_epoch(self, loader, optimizer):
        self.model.train()
        losses = []
        for values, mask, held_out in loader:
            output = self.model(values, mask)
            loss = self.masked_mae(output, values, held_out) + self.masked_mae(output, values, mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return float(np.mean(losses))

    @torch.no_grad()
    def error(self, data):
        self.model.eval()
        values, mask, held_out = data
        return self.masked_mae(self.model(values, mask), values, held_out).item()

    def fit(self, train, val):
        loader = DataLoader(TensorDataset(*train), self.batch_size, shuffle=True)
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.lr)
        for epoch in range(1, self.epochs + 1):
            loss = self.train_epoch(loader, optimizer)
            error = self.error(val)
            if error < self.best_error:
                self.best_error, self.best_epoch = error, epoch
                self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
            if epoch % 10 == 0:
                print(f"epoch {epoch} loss {loss:.4f} val MAE {error:.4f} (best {self.best_error:.4f} in epoch {self.best_epoch})")
            if epoch - self.best_epoch >= self.patience:
                print(f"no better for {self.patience} epochs, stopping")
                break
        self.model.load_state_dict(self.best_weights)
        return self

    @torch.no_grad()
    def impute(self, values, mask):
        self.model.eval()
        return torch.where(mask.bool(), values, self.model(values, mask))


def main():
    torch.manual_seed(3)
    train, val, test = make_stays(200, 1), make_stays(300, 2), make_stays(800, 3)
    imputer = Imputer().fit(train, val)
    torch.save(imputer.model.state_dict(), "imputer.pt")
    values, mask, held_out = test
    filled = imputer.impute(values, mask)
    print(f"best validation MAE {imputer.best_error:.4f}, test MAE of the filled gaps {Imputer.masked_mae(filled, values, held_out).item():.4f}")


if __name__ == "__main__":
    main()
