"""Next-frame prediction for bouncing balls: fine-tuning on few clips of a new scene, from weights learned on many clips."""
import os
import tempfile

import numpy as np
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CONFIG = """
data: {size: 24, frames: 4}
model: {width: 20}
pretrain: {clips: 500, balls: 2, radius: 2.6, epochs: 5, lr: 0.004, batch: 25, init_from: null}
finetune: {clips: 30, balls: 2, radius: 2.0, epochs: 8, lr: 0.001, batch: 6, init_from: pretrained.pt}
"""


def clips(count, seed, size, frames, balls, radius):
    """Clips of balls that bounce off the walls: `frames` frames as input channels, the next one as target."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size]
    movie = np.zeros((count, frames + 1, size, size), np.float32)
    for clip in movie:
        place, speed = rng.uniform(4, size - 4, (balls, 2)), rng.uniform(-2, 2, (balls, 2))
        for frame in clip:
            for cy, cx in place:
                frame += np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * (radius / 1.5) ** 2))
            place = place + speed
            out = (place < 2) | (place > size - 3)
            speed = np.where(out, -speed, speed)
            place = np.clip(place, 2, size - 3)
    movie = torch.from_numpy(movie + rng.normal(0, 0.03, movie.shape).astype(np.float32))
    return TensorDataset(movie[:, :-1], movie[:, -1:])


class Predictor(nn.Module):
    def __init__(self, frames, width):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(frames, width, 5, 1, 2), nn.ReLU(), nn.Conv2d(width, width, 5, 1, 2), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, 1, 3, 1, 1),
        )

    def forward(self, x):
        return x[:, -1:] + self.net(x)


def initialise(module):
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        module.weight.data.mul_(0.7)
        nn.init.zeros_(module.bias)


def build(config, stage, folder):
    model = Predictor(config["data"]["frames"], config["model"]["width"])
    if stage["init_from"] is not None:
        model.load_state_dict(torch.load(os.path.join(folder, stage["init_from"])))
        print(f"weights read from {stage['init_from']}")
    model.apply(initialise)
    return model


@torch.no_grad()
def error(model, loader):
    model.eval()
    return np.mean([nn.functional.mse_loss(model(x), y).item() for x, y in loader])


def run_stage(config, name, seed, folder):
    stage = config[name]
    scene = {"size": config["data"]["size"], "frames": config["data"]["frames"], "balls": stage["balls"], "radius": stage["radius"]}
    train = DataLoader(clips(stage["clips"], seed, **scene), stage["batch"], shuffle=True)
    valid = DataLoader(clips(100, seed + 1, **scene), 50)
    model = build(config, stage, folder)
    optimizer = torch.optim.Adam(model.parameters(), lr=stage["lr"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, stage["epochs"] * len(train))
    for epoch in range(1, stage["epochs"] + 1):
        model.train()
        losses = []
        for x, y in train:
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        print(f"{name} epoch {epoch} train mse {np.mean(losses):.5f} validation mse {error(model, valid):.5f}")
    torch.save(model.state_dict(), os.path.join(folder, f"{name}ed.pt"))
    still = np.mean([nn.functional.mse_loss(x[:, -1:], y).item() for x, y in valid])
    print(f"{name}: validation mse {error(model, valid):.5f}, of the last frame repeated {still:.5f}")


def main():
    torch.manual_seed(4)
    config = yaml.safe_load(CONFIG)
    with tempfile.TemporaryDirectory() as folder:
        run_stage(config, "pretrain", 100, folder)
        run_stage(config, "finetune", 200, folder)


if __name__ == "__main__":
    main()
