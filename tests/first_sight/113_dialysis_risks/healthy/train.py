"""Competing risks on dialysis (death, transplantation): mixtures of Weibull distributions on a shared representation."""
import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

FEATURES = ("age", "albumin", "phosphate", "crp", "bmi", "sensitised", "vintage", "diabetes", "residual", "potassium")
RISKS = ("death", "transplantation")


def cohort(count, seed):
    """Standardised features, years of follow-up, and the event: 0 censored, 1 death, 2 transplantation."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (count, len(FEATURES))).astype(np.float32)
    age, albumin, crp, sensitised, bmi, vintage = x[:, 0], x[:, 1], x[:, 3], x[:, 5], x[:, 4], x[:, 6]
    death = 6.0 * np.exp(-0.7 * age + 0.5 * albumin - 0.3 * crp) * rng.weibull(1.4, count)
    access = 1.5 * np.sin(2.0 * sensitised) - 1.0 * np.abs(bmi) + 0.9 * vintage * np.sign(sensitised)
    transplant = 8.0 * np.exp(-access) * rng.weibull(1.3, count)
    censored = rng.uniform(2.0, 12.0, count)
    time = np.minimum(np.minimum(death, transplant), censored)
    event = np.where(time == censored, 0, np.where(time == death, 1, 2))
    return torch.from_numpy(x), torch.from_numpy(np.maximum(time, 0.01).astype(np.float32)), torch.from_numpy(event)


class WeibullMixtures(nn.Module):
    """For each risk the log-shapes, log-scales and logits of k Weibull components, shifted by the representation."""

    def __init__(self, inputs, risks, k=4, layers=(64, 64)):
        super().__init__()
        sizes = (inputs, *layers)
        blocks = [nn.Sequential(nn.Linear(a, b), nn.ReLU6()) for a, b in zip(sizes[:-1], sizes[1:])]
        self.embedding = nn.Sequential(*blocks)
        names = [str(r + 1) for r in range(risks)]
        self.shape = nn.ParameterDict({r: nn.Parameter(torch.zeros(k)) for r in names})
        self.scale = nn.ParameterDict({r: nn.Parameter(torch.linspace(0.5, 2.5, k)) for r in names})
        self.shape_head = nn.ModuleDict({r: nn.Linear(sizes[-1], k) for r in names})
        self.scale_head = nn.ModuleDict({r: nn.Linear(sizes[-1], k) for r in names})
        self.gate = nn.ModuleDict({r: nn.Linear(sizes[-1], k, bias=False) for r in names})

    def forward(self, x, risk):
        h = self.embedding(x)
        shape = self.shape[risk] + 0.5 * torch.tanh(self.shape_head[risk](h))
        scale = self.scale[risk] + self.scale_head[risk](h)
        return shape, scale, self.gate[risk](h)


def log_density_and_survival(shape, scale, t):
    """Logarithms of density and survival function of Weibull components, both of shape (patients, components)."""
    k, log_t = shape.exp(), t.log()[:, None]
    log_hazard_sum = k * (log_t - scale)
    log_survival = -log_hazard_sum.exp()
    return shape + (k - 1) * log_t - k * scale + log_survival, log_survival


def conditional_loss(model, x, t, e, elbo=True, risk="1"):
    """Negative log-likelihood (or its evidence lower bound) of one risk; other events count as censored."""
    shape, scale, logits = model(x, risk)
    log_f, log_s = log_density_and_survival(shape, scale, t)
    log_terms = torch.where((e == int(risk))[:, None], log_f, log_s)
    if elbo:
        return -(F.softmax(logits, 1) * log_terms).sum(1).mean()
    return -torch.logsumexp(F.log_softmax(logits, 1) + log_terms, 1).mean()


@torch.no_grad()
def risk_score(model, x, horizon, risk):
    """Probability of the event before the horizon, without competing events."""
    shape, scale, logits = model(x, risk)
    _, log_s = log_density_and_survival(shape, scale, torch.full((len(x),), horizon))
    return 1 - (F.softmax(logits, 1) * log_s.exp()).sum(1)


def concordance(score, t, e, risk):
    earlier = (t[:, None] < t[None, :]) & (e[:, None] == risk)
    higher = (score[:, None] > score[None, :]).float() + 0.5 * (score[:, None] == score[None, :]).float()
    return (higher * earlier).sum().item() / earlier.sum().item()


class DeepSurvivalMachines:
    def __init__(self, k=4, layers=(64, 64)):
        self.k, self.layers = k, layers

    def fit(self, train, valid, iters=250, learning_rate=1e-3, batch_size=96, patience=15, seed=0):
        torch.manual_seed(seed)
        x_train, t_train, e_train = train
        self.risks = int(e_train.max())
        self.model = WeibullMixtures(x_train.shape[1], self.risks, self.k, self.layers)
        optimizer = torch.optim.Adam(self.model.parameters(), lr=learning_rate)
        best, best_cost, waited = copy.deepcopy(self.model.state_dict()), float("inf"), 0
        for epoch in range(iters):
            self.model.train()
            total = 0.0
            for index in torch.randperm(len(x_train)).split(batch_size):
                loss = sum(
                    conditional_loss(self.model, x_train[index], t_train[index], e_train[index], elbo=True, risk=str(r + 1))
                    for r in range(self.risks)
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(index)
            cost = self.validation_cost(*valid)
            if cost < best_cost:
                best, best_cost, waited = copy.deepcopy(self.model.state_dict()), cost, 0
            else:
                waited += 1
            if epoch % 10 == 0:
                print(f"epoch {epoch:3d} train {total / len(x_train):.4f} valid {cost:.4f}")
            if waited == patience:
                break
        self.model.load_state_dict(best)
        self.epochs = epoch + 1
        return self

    @torch.no_grad()
    def validation_cost(self, x_valid, t_valid, e_valid):
        self.model.eval()
        cost = 0.0
        for r in range(self.risks):
            cost += conditional_loss(self.model, x_valid, t_valid, e_valid, elbo=False, risk=str(r + 1)).item()
        return cost

    def predict_risk(self, x, horizon, risk):
        self.model.eval()
        return risk_score(self.model, x, horizon, str(risk))


def main():
    train, valid, test = cohort(3000, 1), cohort(1000, 2), cohort(1500, 3)
    machine = DeepSurvivalMachines().fit(train, valid)
    x, t, e = test
    parts = []
    for r, name in enumerate(RISKS, 1):
        c_index = concordance(machine.predict_risk(x, 3.0, r), t, e, r)
        with torch.no_grad():
            nll = conditional_loss(machine.model, x, t, e, elbo=False, risk=str(r)).item()
        parts.append(f"{name}: C-index {c_index:.4f} NLL {nll:.4f}")
    print(f"final after {machine.epochs} epochs: " + ", ".join(parts))


if __name__ == "__main__":
    main()
