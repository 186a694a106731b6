"""Lesion segmentation on patches of brain slices; patch centres are drawn from a sampling map, one per slice."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml

CONFIG = yaml.safe_load("""
data: {size: 80, train: 48, val: 16}
sampler: {patch: 24, per_volume: 6, lesion_share: 0.5}
training: {iterations: 260, batch: 16, lr: 0.003, validate_every: 65}
""")


def make_slice(rng, size):
    """Skull, brain, bright vessels and skull base (never lesions), lesions with a dark rim."""
    yy, xx = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    radius = np.sqrt((xx / 0.85) ** 2 + (yy / 0.95) ** 2)
    image = np.where(radius < 0.9, 0.45, 0.05) + 0.05 * np.sin(5 * xx + rng.uniform(0, 6)) * np.sin(5 * yy + rng.uniform(0, 6))
    image[(radius > 0.9) & (radius < 1.0)] = 0.85
    for _ in range(4):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.55, 0.75)
        blob = np.hypot(xx - far * 0.85 * np.cos(angle), yy - far * 0.95 * np.sin(angle)) < rng.uniform(0.06, 0.1)
        image[blob] = 0.8
    mask = np.zeros((size, size), bool)
    for _ in range(rng.integers(1, 3)):
        cx, cy = rng.uniform(-0.28, 0.28, 2)
        distance = np.hypot((xx - cx) * rng.uniform(0.8, 1.2), yy - cy)
        grown = rng.uniform(0.08, 0.15)
        image[(distance < grown + 0.06) & ~mask] = 0.3
        mask |= distance < grown
    image[mask] = 0.8
    image += rng.normal(0, 0.05, image.shape)
    return ((image - 0.45) / 0.25).astype(np.float32), mask.astype(np.float32)


class WeightedPatchSampler:
    """Draws patch centres with a probability in proportion to the value of the sampling map."""

    def __init__(self, images, masks, patch, per_volume, lesion_share, seed):
        self.images, self.masks, self.half = images, masks, patch // 2
        self.per_volume, self.share = per_volume, lesion_share
        self.rng = np.random.default_rng(seed)

    def sampling_map(self, mask):
        """One in the background; lesions so much heavier that they get their share of the patches."""
        inner = mask[self.half : -self.half, self.half : -self.half]
        lesion, rest = (inner > 0).sum(), (inner == 0).sum()
        weight = self.share / (1 - self.share) * rest / max(lesion, 1)
        return np.where(inner > 0, weight, 1.0)

    def centres(self, mask):
        frequency = self.sampling_map(mask)
        flat = frequency.ravel() - frequency.min()
        cumulative = np.cumsum(flat)
        cumulative = cumulative / cumulative[-1]
        picks = np.searchsorted(cumulative, self.rng.random(self.per_volume), side="right")
        return np.column_stack(np.unravel_index(picks, frequency.shape)) + self.half

    def stream(self, batch):
        queue = []
        while True:
            for k in self.rng.permutation(len(self.images)):
                for y, x in self.centres(self.masks[k]):
                    window = np.s_[y - self.half : y + self.half, x - self.half : x + self.half]
                    queue.append((self.images[k][window], self.masks[k][window]))
            self.rng.shuffle(queue)
            while len(queue) >= batch:
                image, mask = zip(*(queue.pop() for _ in range(batch)))
                yield torch.tensor(np.stack(image))[:, None], torch.tensor(np.stack(mask))[:, None]


class SmallNet(nn.Module):
    """Convolutions with growing reach on one scale, in the way of HighRes3DNet."""

    def __init__(self, width=12):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=d, dilation=d), nn.BatchNorm2d(width), nn.ReLU()) for d in (1, 2, 4)
        )
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        x = self.first(x)
        for level in self.levels:
            x = x + level(x)
        return self.out(x)


def segmentation_loss(logits, mask):
    p = logits.sigmoid()
    dice = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
    return dice + F.binary_cross_entropy_with_logits(logits, mask)


@torch.no_grad()
def validate(model, images, masks):
    """Dice, sensitivity and precision over whole slices."""
    model.eval()
    x, y = torch.tensor(np.stack(images))[:, None], torch.tensor(np.stack(masks))[:, None] > 0
    p = model(x) > 0
    model.train()
    hit = (p & y).sum().item()
    return 2 * hit / (p.sum() + y.sum()).item(), hit / y.sum().item(), hit / max(p.sum().item(), 1)


def run(config):
    torch.manual_seed(4)
    rng = np.random.default_rng(4)
    data, training = config["data"], config["training"]
    train, val = ([make_slice(rng, data["size"]) for _ in range(data[part])] for part in ("train", "val"))
    sampler = WeightedPatchSampler(*zip(*train), **config["sampler"], seed=9)
    model = SmallNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=training["lr"])
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, training["iterations"], power=0.9)
    losses = []
    for iteration, (image, mask) in enumerate(sampler.stream(training["batch"]), 1):
        loss = segmentation_loss(model(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        if iteration % training["validate_every"] == 0:
            dice, sensitivity, precision = validate(model, *zip(*val))
            print(f"iteration {iteration} loss {np.mean(losses[-65:]):.4f} val dice {dice:.4f} sensitivity {sensitivity:.4f} precision {precision:.4f}")
        if iteration == training["iterations"]:
            break


if __name__ == "__main__":
    run(CONFIG)
