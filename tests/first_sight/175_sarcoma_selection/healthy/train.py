# %% [markdown]
# Radiomics of soft tissue sarcomas: does a network on texture features predict metastases within two years?
# 90 patients, 2400 features; five-fold cross-validation, repeated.

# %%
import numpy as np
import torch
from torch import nn
from scipy.stats import rankdata, ttest_ind

torch.manual_seed(20)
rng = np.random.default_rng(20)
PATIENTS, FAMILIES, PER_FAMILY = 90, 200, 12
KEEP, FOLDS, REPEATS = 20, 5, 2

# %% features: families of correlated textures (filters of one image type); outcome tied to two families
latent = rng.normal(size=(PATIENTS, FAMILIES))
loading = rng.uniform(0.4, 0.9, (FAMILIES, PER_FAMILY))
features = latent[:, :, None] * loading + rng.normal(size=(PATIENTS, FAMILIES, PER_FAMILY)) * np.sqrt(1 - loading**2)
features = features.reshape(PATIENTS, -1)
features = np.exp(0.4 * features) * rng.uniform(1, 200, features.shape[1])
risk = 1.0 * latent[:, 0] - 0.8 * latent[:, 1] + rng.normal(size=PATIENTS)
outcome = (risk > np.quantile(risk, 0.6)).astype(int)
print(f"{features.shape[1]} features, {outcome.sum()} of {PATIENTS} patients with metastases")


# %% helpers
def folds(labels, k):
    """Stratified folds as arrays of indices."""
    parts = [[] for _ in range(k)]
    for value in (0, 1):
        for position, index in enumerate(rng.permutation(np.flatnonzero(labels == value))):
            parts[position % k].append(index)
    return [np.array(part) for part in parts]


def strongest(x, y, count):
    p = ttest_ind(x[y == 1], x[y == 0], axis=0).pvalue
    return np.argsort(p)[:count]


def area_under_curve(y, score):
    ranks, positive = rankdata(score), y.sum()
    return (ranks[y == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(y) - positive))


class Mlp(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))

    def forward(self, x):
        return self.body(x)[:, 0]


def train_network(x, y, epochs=60):
    net = Mlp(x.shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    criterion = nn.BCEWithLogitsLoss(pos_weight=(y == 0).sum() / (y == 1).sum())
    net.train()
    for _ in range(epochs):
        for part in torch.randperm(len(y)).split(24):
            optimizer.zero_grad()
            loss = criterion(net(x[part]), y[part])
            loss.backward()
            optimizer.step()
    return net.eval(), loss.item()


# %% cross-validation
textures = np.log(features)
areas = []
for repeat in range(REPEATS):
    scores = np.zeros(PATIENTS)
    for number, test in enumerate(folds(outcome, FOLDS)):
        train = np.setdiff1d(np.arange(PATIENTS), test)
        columns = strongest(textures[train], outcome[train], KEEP)
        chosen = textures[:, columns]
        centre, spread = chosen[train].mean(0), chosen[train].std(0)
        inputs = torch.tensor((chosen - centre) / spread, dtype=torch.float32)
        targets = torch.tensor(outcome, dtype=torch.float32)
        net, last = train_network(inputs[train], targets[train])
        with torch.no_grad():
            scores[test] = net(inputs[test]).sigmoid().numpy()
        print(f"repeat {repeat} fold {number}: last loss {last:.3f}, AUC {area_under_curve(outcome[test], scores[test]):.3f}")
    areas.append(area_under_curve(outcome, scores))

# %%
print(f"cross-validated AUC {np.mean(areas):.3f} +- {np.std(areas):.3f}")
