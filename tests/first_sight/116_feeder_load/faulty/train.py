# %% Load of distribution feeders: the next day from the last four, one network for all feeders
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

LOOKBACK, HORIZON, CLIP = 96, 24, 6.0
FEATURES = ("load", "temperature")
torch.manual_seed(7)


# %% Hourly records: a wandering level, a daily shape that depends on the weekday, and the temperature
def feeder(rng, days=150):
    hours = np.arange(days * 24)
    steps = rng.normal(0, 1, days).cumsum() * rng.uniform(1.5, 3.0)
    level = rng.uniform(60, 120) + np.interp(hours, np.arange(days) * 24 + 12, steps)
    weekend = (hours // 24) % 7 >= 5
    clock = hours % 24
    shape = 12 * np.exp(-(((clock - 8) / 2.5) ** 2)) * (1 - 0.6 * weekend) + 18 * np.exp(-(((clock - 19) / 3.0) ** 2))
    daily = np.interp(hours, np.arange(days) * 24, rng.normal(0, 3, days))
    temperature = 10 + 8 * np.sin(2 * np.pi * hours / (24 * 150)) + 4 * np.sin(2 * np.pi * (clock - 9) / 24) + daily
    load = level + shape * rng.uniform(0.8, 1.3) - 0.8 * (temperature - 10) + rng.normal(0, 1.5, len(hours))
    stamp = np.stack([np.sin(2 * np.pi * clock / 24), np.cos(2 * np.pi * clock / 24), weekend], 1)
    return np.stack([load, temperature], 1).astype(np.float32), stamp.astype(np.float32)


rng = np.random.default_rng(3)
feeders = [feeder(rng) for _ in range(24)]
cut_val, cut_test = 100 * 24, 125 * 24


# %%
class FeederWindows(Dataset):
    """Windows of lookback and horizon between two hours of every feeder, normalised one by one."""

    def __init__(self, first, last, stride):
        self.window = LOOKBACK + HORIZON
        self.indices = [(f, s) for f in range(len(feeders)) for s in range(first, last - self.window + 1, stride)]

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, idx):
        number, start = self.indices[idx]
        values, stamp = feeders[number]
        x = values[start : start + self.window]
        x_mean, x_std = x.mean(0), x.std(0)
        x = np.clip((x - x_mean) / (x_std + 1e-5), -CLIP, CLIP)
        return torch.from_numpy(x), torch.from_numpy(stamp[start : start + self.window])


train_set = FeederWindows(0, cut_val, stride=7)
val_set = FeederWindows(cut_val, cut_test, stride=24)
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
val_loader = DataLoader(val_set, batch_size=256)
print(f"{len(train_set)} windows for training, {len(val_set)} for validation")


# %%
class Forecaster(nn.Module):
    """Recurrent encoder of the past; the decoder knows only the calendar of the hours ahead."""

    def __init__(self, hidden=48):
        super().__init__()
        self.encoder = nn.GRU((len(FEATURES) + 3) * 4, hidden, batch_first=True)
        self.decoder = nn.Sequential(nn.Linear(hidden + 4, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, past, past_stamp, future_stamp):
        blocks = torch.cat([past, past_stamp], -1).reshape(len(past), LOOKBACK // 4, -1)
        state = self.encoder(blocks)[1][-1]
        ahead = torch.linspace(0, 1, HORIZON).view(1, -1, 1).expand(len(past), -1, -1)
        context = torch.cat([state[:, None].expand(-1, HORIZON, -1), future_stamp, ahead], -1)
        return self.decoder(context).squeeze(-1)


model = Forecaster()
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-4)
EPOCHS = 10
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=EPOCHS * len(train_loader))


# %%
def forecast_loss(x, stamp):
    prediction = model(x[:, :LOOKBACK], stamp[:, :LOOKBACK], stamp[:, LOOKBACK:])
    return (prediction - x[:, LOOKBACK:, 0]).abs().mean()


best, best_state = float("inf"), None
for epoch in range(EPOCHS):
    model.train()
    total = 0.0
    for x, stamp in train_loader:
        loss = forecast_loss(x, stamp)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        total += loss.item() * len(x)
    model.eval()
    with torch.no_grad():
        val = sum(forecast_loss(x, stamp).item() * len(x) for x, stamp in val_loader) / len(val_set)
    if val < best:
        best, best_state = val, {name: value.clone() for name, value in model.state_dict().items()}
    print(f"epoch {epoch + 1:2d} train MAE {total / len(train_set):.4f} val MAE {val:.4f} (standard deviations)")
model.load_state_dict(best_state)


# %% Backtest in MW on the last weeks, as the network would be used every midnight
@torch.no_grad()
def forecast(values, stamp, now):
    """The 24 hours from now on, from the records before now."""
    model.eval()
    past = values[now - LOOKBACK : now]
    mean, std = past.mean(0), past.std(0)
    scaled = np.clip((past - mean) / (std + 1e-5), -CLIP, CLIP)
    calendar = torch.from_numpy(stamp[now - LOOKBACK : now + HORIZON])[None]
    output = model(torch.from_numpy(scaled)[None], calendar[:, :LOOKBACK], calendar[:, LOOKBACK:])[0]
    return output.numpy() * (std[0] + 1e-5) + mean[0]


errors, naive = [], []
for values, stamp in feeders:
    for now in range(cut_test + LOOKBACK, len(values) - HORIZON + 1, 24):
        truth = values[now : now + HORIZON, 0]
        errors.append(np.abs(forecast(values, stamp, now) - truth).mean())
        naive.append(np.abs(values[now - HORIZON : now, 0] - truth).mean())
print(f"final: val MAE {best:.4f} sd, backtest MAE {np.mean(errors):.4f} MW, yesterday again {np.mean(naive):.4f} MW")
