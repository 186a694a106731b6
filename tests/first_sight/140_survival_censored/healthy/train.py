"""Survival from whole slides: attention pooling over patch features, discrete hazards, likelihood with censored patients."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn


@dataclass
class Config:
    features: int = 20
    hidden: int = 24
    bins: int = 6
    horizon: float = 60.0
    alpha: float = 0.0
    lr: float = 3e-3
    weight_decay: float = 1e-3
    epochs: int = 10
    batch: int = 8
    seed: int = 2


def make_cohort(count, cfg, rng, centres):
    """Slides, months until death or the end of the follow-up, and whether the patient was censored."""
    slides, months, censored = [], [], []
    for _ in range(count):
        grade = rng.uniform(0, 1)
        kinds = rng.choice(3, 48, p=[0.5, 0.5 * (1 - grade), 0.5 * grade])
        slides.append(centres[kinds] + rng.normal(0, 0.8, (48, cfg.features)))
        death = rng.exponential(110 * np.exp(-2.2 * grade))
        leaving = rng.uniform(6, cfg.horizon)
        months.append(min(death, leaving))
        censored.append(death > leaving)
    return torch.tensor(np.stack(slides), dtype=torch.float32), np.array(months), torch.tensor(censored)


def to_bins(months, edges):
    return torch.from_numpy(np.digitize(months, edges[1:-1]))


class SurvivalMIL(nn.Module):
    """Logits of the hazards in each interval of time."""

    def __init__(self, cfg):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(cfg.features, cfg.hidden), nn.ReLU())
        self.attention = nn.Sequential(nn.Linear(cfg.hidden, cfg.hidden), nn.Tanh(), nn.Linear(cfg.hidden, 1))
        self.head = nn.Sequential(nn.Linear(cfg.hidden, cfg.hidden), nn.ReLU(), nn.Linear(cfg.hidden, cfg.bins))

    def forward(self, slides):
        h = self.embed(slides)
        return self.head((self.attention(h).softmax(1) * h).sum(1))


class HazardLikelihood(nn.Module):
    """Negative log likelihood of discrete hazards; alpha between 0 and 1 takes weight away from the censored patients."""

    def __init__(self, alpha, eps=1e-7):
        super().__init__()
        self.alpha, self.eps = alpha, eps

    def forward(self, logits, interval, censored):
        hazard = logits.sigmoid()
        survival = torch.cumprod(1 - hazard, 1)
        padded = torch.cat([torch.ones_like(survival[:, :1]), survival], 1)
        before = padded.gather(1, interval[:, None]).clamp(min=self.eps)
        after = padded.gather(1, interval[:, None] + 1).clamp(min=self.eps)
        now = hazard.gather(1, interval[:, None]).clamp(min=self.eps)
        censored = censored[:, None].float()
        died = -(1 - censored) * (before.log() + now.log())
        alive = -censored * after.log()
        return (died + (1 - self.alpha) * alive).mean()


def concordance(risk, months, censored):
    """Share of comparable pairs in which the patient who died earlier was given the higher risk."""
    good = pairs = 0.0
    for i in np.flatnonzero(~censored):
        later = months > months[i]
        pairs += later.sum()
        good += (risk[i] > risk[later]).sum() + 0.5 * (risk[i] == risk[later]).sum()
    return good / pairs


def kaplan_meier(months, censored, times):
    """Observed survival at the given times."""
    order = np.argsort(months)
    months, died = months[order], ~censored[order]
    factors = 1 - died / (len(months) - np.arange(len(months)))
    return np.array([factors[months <= t].prod() for t in times])


@torch.no_grad()
def evaluate(model, cohort, edges):
    slides, months, censored = cohort
    model.eval()
    survival = torch.cumprod(1 - model(slides).sigmoid(), 1).numpy()
    return concordance(-survival.sum(1), months, censored.numpy()), survival.mean(0), kaplan_meier(months, censored.numpy(), edges[1:])


def main(cfg):
    torch.manual_seed(cfg.seed)
    rng = np.random.default_rng(cfg.seed)
    centres = rng.normal(0, 1, (3, cfg.features))
    train, val = (make_cohort(n, cfg, rng, centres) for n in (320, 200))
    slides, months, censored = train
    edges = np.linspace(0, cfg.horizon, cfg.bins + 1)
    interval = to_bins(months, edges)
    print(f"{len(slides)} patients, {censored.float().mean():.0%} censored")
    model, criterion = SurvivalMIL(cfg), HazardLikelihood(cfg.alpha)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg.epochs)
    for epoch in range(1, cfg.epochs + 1):
        model.train()
        losses = []
        for rows in torch.randperm(len(slides)).split(cfg.batch):
            loss = criterion(model(slides[rows]), interval[rows], censored[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        index, predicted, observed = evaluate(model, val, edges)
        print(f"epoch {epoch:2d} loss {np.mean(losses):.3f} val c-index {index:.3f} "
              f"survival at {edges[3]:.0f} months: predicted {predicted[2]:.3f} observed {observed[2]:.3f}")
    for t, p, o in zip(edges[1:], predicted, observed):
        print(f"{t:3.0f} months: mean predicted survival {p:.3f}, Kaplan-Meier {o:.3f}")


if __name__ == "__main__":
    main(Config())
