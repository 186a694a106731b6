"""Survival after resection from a tumour patch: a small CNN with a Cox head, driven by Ignite."""
import numpy as np
import torch
import torch.nn as nn
from ignite.engine import Engine, Events
from ignite.metrics import EpochMetric, RunningAverage
from torch.utils.data import DataLoader, TensorDataset


def cohort(n, seed):
    """Patches 1 x 32 x 32, months of follow-up, 1 for death and 0 for censored."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[-1:1:32j, -1:1:32j]
    images, risk = [], []
    for _ in range(n):
        size, necrosis, rim = rng.uniform(0.3, 0.8), rng.uniform(0, 0.7), rng.uniform(0.1, 0.5)
        d = np.sqrt((yy - rng.normal(0, 0.1)) ** 2 + (xx - rng.normal(0, 0.1)) ** 2) / size
        img = 0.3 + (d < 1) * (0.3 + rim * np.exp(-((d - 0.9) / 0.15) ** 2)) - (d < necrosis) * 0.4
        images.append(img + rng.normal(0, 0.12, img.shape))
        risk.append(3.0 * (size - 0.55) + 3.0 * (necrosis - 0.35) - 2.0 * (rim - 0.3))
    risk = np.array(risk)
    death = rng.exponential(24 * np.exp(-1.6 * risk))
    leave = rng.uniform(2, 40, n)
    time, event = np.minimum(death, leave), (death <= leave).astype(np.int64)
    x = torch.tensor(np.stack(images), dtype=torch.float32)[:, None]
    return TensorDataset((x - 0.35) / 0.25, torch.tensor(time, dtype=torch.float32), torch.tensor(event))


class RiskNet(nn.Module):
    def __init__(self, ch=12):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, ch, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(ch, 2 * ch, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * ch, 2 * ch, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(32 * ch, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


def partial_likelihood(log_hazard, event):
    """Both sorted by time, earliest first."""
    at_risk = torch.logcumsumexp(log_hazard.flip(0), 0).flip(0)
    return (log_hazard - at_risk)[event]


def cox_loss(log_hazard, time, event):
    order = time.argsort()
    return -partial_likelihood(log_hazard[order], event[order]).mean()


def concordance(outputs, targets):
    time, event = targets[:, 0], targets[:, 1]
    comparable = (time[:, None] < time[None]) & (event[:, None] == 1)
    higher = (outputs[:, None] > outputs[None]).float() + 0.5 * (outputs[:, None] == outputs[None]).float()
    return (higher * comparable).sum().item() / comparable.sum().item()


def main():
    torch.manual_seed(0)
    train_set, val_set = cohort(320, 0), cohort(200, 1)
    print(f"deaths: {train_set.tensors[2].sum().item()} of {len(train_set)}, {val_set.tensors[2].sum().item()} of {len(val_set)}")
    train = DataLoader(train_set, batch_size=160, shuffle=True)
    val = DataLoader(val_set, batch_size=100)
    net = RiskNet()
    opt = torch.optim.Adam(net.parameters(), 2e-3, weight_decay=1e-4)

    def train_step(engine, batch):
        net.train()
        image, time, event = batch
        opt.zero_grad()
        loss = cox_loss(net(image), time, event)
        loss.backward()
        opt.step()
        return loss.item()

    @torch.no_grad()
    def val_step(engine, batch):
        net.eval()
        image, time, event = batch
        return net(image), torch.stack([time, event.float()], 1)

    trainer, evaluator = Engine(train_step), Engine(val_step)
    RunningAverage(output_transform=lambda loss: loss, alpha=0.9).attach(trainer, "loss")
    EpochMetric(concordance, check_compute_fn=False).attach(evaluator, "c_index")

    @trainer.on(Events.EPOCH_COMPLETED(every=15))
    def report(engine):
        evaluator.run(val)
        print(f"epoch {engine.state.epoch} train_loss {engine.state.metrics['loss']:.4f} val_c_index {evaluator.state.metrics['c_index']:.4f}")

    trainer.run(train, max_epochs=75)


if __name__ == "__main__":
    main()
