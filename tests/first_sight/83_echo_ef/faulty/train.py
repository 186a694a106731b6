# %% [markdown]
# # Ejection fraction from two frames
# End-diastolic and end-systolic frame of an apical view, one number out: the ejection fraction in percent.

# %%
import numpy as np
import torch
import torch.nn as nn
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, TensorDataset, random_split

rng = np.random.default_rng(2024)
torch.manual_seed(2024)
SIDE = 40


# %%
def frame(cx, cy, a, b, tilt):
    """Dark cavity with a bright wall in speckle."""
    yy, xx = np.mgrid[:SIDE, :SIDE]
    u = (xx - cx) * np.cos(tilt) + (yy - cy) * np.sin(tilt)
    v = -(xx - cx) * np.sin(tilt) + (yy - cy) * np.cos(tilt)
    radius = np.sqrt((u / a) ** 2 + (v / b) ** 2)
    tissue = np.where(radius < 1, 0.12, np.where(radius < 1.35, 0.8, 0.4))
    speckle = gaussian_filter(rng.rayleigh(0.8, (SIDE, SIDE)), 0.7)
    return tissue * speckle


# columns: end-diastolic volume, end-systolic volume, ejection fraction
clips, table = [], []
for _ in range(1000):
    a, b = rng.uniform(7, 10), rng.uniform(12, 16)
    ef = np.clip(rng.normal(55, 13), 15, 78)
    shrink = (1 - ef / 100) ** (1 / 3)
    cx, cy, tilt = SIDE / 2 + rng.normal(0, 1.5), SIDE / 2 + rng.normal(0, 1.5), rng.normal(0, 0.2)
    clips.append([frame(cx, cy, a, b, tilt), frame(cx, cy, a * shrink, b * shrink, tilt)])
    edv = 4 / 3 * np.pi * a * a * b
    table.append([edv, edv * (1 - ef / 100), ef])
table = np.array(table)
clips = torch.from_numpy(np.array(clips)).float()
clips = (clips - clips.mean()) / clips.std()
targets = torch.from_numpy(table[:, 2:3]).float()
ef_mean, ef_std = targets.mean(), targets.std()
print("clips", tuple(clips.shape), f"EF {ef_mean:.1f} +- {ef_std:.1f} %")

# %%
dataset = TensorDataset(clips, (targets - ef_mean) / ef_std)
train_set, val_set = random_split(dataset, [800, 200])
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
val_loader = DataLoader(val_set, batch_size=100)


# %%
class EFNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        layers, previous = [], 2
        for i in range(3):
            channels = width * 2**i
            layers += [nn.Conv2d(previous, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]
            previous = channels
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Sequential(nn.Linear(previous * 25, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        features = self.body(x)
        return self.head(features).squeeze(-1)


model = EFNet()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)

# %%
for epoch in range(7):
    model.train()
    running = []
    for clip, ef in train_loader:
        optimizer.zero_grad()
        prediction = model(clip)
        loss = criterion(prediction, ef)
        loss.backward()
        optimizer.step()
        running.append(loss.item())
    scheduler.step()

    model.eval()
    predicted, actual = [], []
    with torch.no_grad():
        for clip, ef in val_loader:
            predicted.append(model(clip).flatten() * ef_std + ef_mean)
            actual.append(ef.flatten() * ef_std + ef_mean)
    predicted, actual = torch.cat(predicted), torch.cat(actual)
    mae = (predicted - actual).abs().mean()
    r2 = 1 - (predicted - actual).pow(2).sum() / (actual - actual.mean()).pow(2).sum()
    print(f"epoch {epoch + 1:2d}  loss {np.mean(running):.3f}  val MAE {mae:.2f} EF points  R2 {r2:.3f}")

# %%
print(f"range of the predictions {predicted.min():.1f} to {predicted.max():.1f} %, of the truth {actual.min():.1f} to {actual.max():.1f} %")
print(f"final val MAE {mae:.2f} EF points, R2 {r2:.3f}")
