"""Time to recurrence after radiotherapy from CT radiomics: proportional hazards network with a fit method and callbacks."""
import numpy as np
import torch
import torch.nn as nn


# ------------------------------------------------------------------ cohort
def make_cohort(n, seed, n_features=24):
    """Features, months of follow-up and whether a recurrence was seen; most patients are censored."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, 6))
    mix = np.random.default_rng(99).normal(size=(6, n_features)) * 0.7
    x = base @ mix + 0.6 * rng.normal(size=(n, n_features))
    x[:, :3] = np.exp(0.5 * x[:, :3])  # volumes are skewed
    risk = 1.0 * base[:, 0] - 0.8 * base[:, 1] + 0.7 * base[:, 2] * base[:, 3] + 0.4 * base[:, 4] ** 2
    onset = rng.exponential(260 * np.exp(-risk))
    follow_up = rng.uniform(6, 48, n)
    return x.astype(np.float32), (np.minimum(onset, follow_up).astype(np.float32), (onset <= follow_up).astype(np.float32))


class StandardScaler:
    def fit(self, x):
        self.mean, self.std = x.mean(0), x.std(0)
        return self

    def transform(self, x):
        return (x - self.mean) / self.std


# ------------------------------------------------------------------ loss and concordance
def cox_ph_loss_sorted(log_h, events):
    """Negative partial log-likelihood of a batch sorted by falling duration, per event."""
    log_h, events = log_h.view(-1), events.view(-1)
    gamma = log_h.max().detach()
    log_cumsum_h = (log_h - gamma).exp().cumsum(0).log() + gamma
    return -((log_h - log_cumsum_h) * events).sum() / events.sum()


def cox_ph_loss(log_h, durations, events):
    order = durations.sort(descending=True)[1]
    return cox_ph_loss_sorted(log_h[order], events[order])


def concordance(durations, events, log_h):
    earlier = (durations[:, None] < durations[None, :]) & (events[:, None] > 0)
    higher = (log_h[:, None] > log_h[None, :]) + 0.5 * (log_h[:, None] == log_h[None, :])
    return float((higher * earlier).sum() / earlier.sum())


# ------------------------------------------------------------------ network and model
class MLPVanilla(nn.Module):
    def __init__(self, in_features, num_nodes, out_features, batch_norm=True, dropout=None, output_bias=True):
        super().__init__()
        layers = []
        for width in num_nodes:
            layers += [nn.Linear(in_features, width), nn.ReLU()]
            layers += [nn.BatchNorm1d(width)] if batch_norm else []
            layers += [nn.Dropout(dropout)] if dropout else []
            in_features = width
        self.net = nn.Sequential(*layers, nn.Linear(in_features, out_features, bias=output_bias))

    def forward(self, x):
        return self.net(x)


class EarlyStopping:
    def __init__(self, patience=8):
        self.patience, self.best, self.count, self.state = patience, np.inf, 0, None

    def on_epoch_end(self, net, log):
        if log["val_loss"] < self.best:
            self.best, self.count = log["val_loss"], 0
            self.state = {k: v.clone() for k, v in net.state_dict().items()}
        else:
            self.count += 1
        return self.count >= self.patience

    def load_best(self, net):
        if self.state is not None:
            net.load_state_dict(self.state)


class CoxPH:
    def __init__(self, net, optimizer, loss=cox_ph_loss):
        self.net, self.optimizer, self.loss, self.log = net, optimizer, loss, []

    def fit(self, x, target, batch_size, epochs, callbacks, val_data, verbose=True):
        x, durations, events = (torch.as_tensor(a) for a in (x, *target))
        for epoch in range(epochs):
            self.net.train()
            losses = []
            for rows in torch.randperm(len(x)).split(batch_size):
                if len(rows) < batch_size:
                    continue
                loss = self.loss(self.net(x[rows]), durations[rows], events[rows])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                losses.append(loss.item())
            log = {"epoch": epoch, "train_loss": float(np.mean(losses)), "val_loss": self.score(*val_data)}
            self.log.append(log)
            if verbose:
                print(f"{epoch}:\ttrain_loss: {log['train_loss']:.4f},\tval_loss: {log['val_loss']:.4f}")
            if any([c.on_epoch_end(self.net, log) for c in callbacks]):
                break
        for c in callbacks:
            c.load_best(self.net)
        return self.log

    @torch.no_grad()
    def score(self, x, target):
        self.net.eval()
        return self.loss(self.net(torch.as_tensor(x)), *(torch.as_tensor(a) for a in target)).item()

    @torch.no_grad()
    def predict(self, x):
        self.net.eval()
        return self.net(torch.as_tensor(x)).view(-1).numpy()


if __name__ == "__main__":
    np.random.seed(1234)
    torch.manual_seed(123)
    cohorts = {name: make_cohort(n, seed) for name, n, seed in (("train", 1200, 1), ("val", 400, 2), ("test", 600, 3))}
    scaler = StandardScaler().fit(cohorts["train"][0])
    data = {name: (scaler.transform(x), y) for name, (x, y) in cohorts.items()}
    print("events", {name: f"{y[1].mean():.3f}" for name, (x, y) in data.items()})
    for batch_size in (256, 16):
        net = MLPVanilla(24, [32, 32], 1, batch_norm=True, dropout=0.2, output_bias=False)
        model = CoxPH(net, torch.optim.AdamW(net.parameters(), lr=2e-3 if batch_size == 256 else 5e-4, weight_decay=1e-2))
        print(f"batch size {batch_size}")
        model.fit(*data["train"], batch_size, epochs=30, callbacks=[EarlyStopping()], val_data=data["val"])
        for name in ("train", "val", "test"):
            x, (durations, events) = data[name]
            print(f"  {name} C-index {concordance(durations, events, model.predict(x)):.4f}")
