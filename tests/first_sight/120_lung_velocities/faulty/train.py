"""Registration of breathing phases of the lung: a network predicts velocities at several times, which are integrated."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset

CONFIG = {
    "size": 32, "pairs": 240, "val_pairs": 60, "times": 3, "width": 12, "reach": 3.0, "smoothness": 0.002,
    "epochs": 12, "batch_size": 8, "lr": 3e-3, "seed": 21,
}


def warp(image, flow):
    """Image (n, c, h, w) at the places x + flow(x); flow (n, 2, h, w) in pixels, rows first."""
    h, w = image.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    y, x = rows + flow[:, 0], columns + flow[:, 1]
    grid = torch.stack([2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1], -1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=True)


def smooth_field(rng, size, amplitude):
    field = gaussian_filter(rng.normal(0, 1, (2, size, size)), (0, 5, 5))
    return amplitude * field / np.abs(field).max()


class BreathingPairs(Dataset):
    """Moving and fixed slices of the thorax and the masks of both lungs."""

    def __init__(self, count, size, seed):
        rng = np.random.default_rng(seed)
        self.items = [self.pair(rng, size) for _ in range(count)]

    @staticmethod
    def pair(rng, size):
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        lungs = np.zeros((size, size), np.float32)
        for side in (-1, 1):
            cx, cy = size / 2 + side * rng.uniform(6, 7.5), size / 2 + rng.uniform(-2, 2)
            lungs[((x - cx) / rng.uniform(4, 5.5)) ** 2 + ((y - cy) / rng.uniform(8, 11)) ** 2 < 1] = 1
        body = ((x - size / 2) / (size * 0.46)) ** 2 + ((y - size / 2) / (size * 0.42)) ** 2 < 1
        vessels = gaussian_filter(rng.normal(0, 1, (size, size)), 1.2) > 0.25
        image = gaussian_filter(0.7 * body - 0.6 * lungs + 0.4 * lungs * vessels, 0.6)
        stack = torch.from_numpy(np.stack([image, lungs])[None].astype(np.float32))
        motion = torch.zeros(1, 2, size, size)
        for _ in range(3):
            step = smooth_field(rng, size, rng.uniform(1.0, 3.0))
            step[0] += rng.uniform(-1.5, 1.5) * y / size
            step = torch.from_numpy(step[None].astype(np.float32))
            motion = step + warp(motion, step)
        moved = warp(stack, motion)
        noise = torch.from_numpy(rng.normal(0, 0.02, (2, size, size)).astype(np.float32))
        return stack[0, :1] + noise[:1], moved[0, :1] + noise[1:], stack[0, 1:], moved[0, 1:]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class VelocityNet(nn.Module):
    """Velocities (n, times, 2, h, w) in pixels for a unit of time each."""

    def __init__(self, times, width, reach):
        super().__init__()
        self.times, self.reach = times, reach
        self.down_1, self.down_2, self.down_3 = self.block(2, width, 1), self.block(width, 2 * width, 2), self.block(2 * width, 3 * width, 2)
        self.up_2, self.up_1 = self.block(5 * width, 2 * width, 1), self.block(3 * width, width, 1)
        self.out = nn.Conv2d(width, 2 * times, 3, padding=1)
        nn.init.normal_(self.out.weight, std=1e-2)
        nn.init.zeros_(self.out.bias)

    @staticmethod
    def block(inputs, outputs, stride):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.2), nn.Conv2d(outputs, outputs, 3, 1, 1), nn.LeakyReLU(0.2))

    def forward(self, moving, fixed):
        a = self.down_1(torch.cat([moving, fixed], 1))
        b = self.down_2(a)
        c = self.down_3(b)
        b = self.up_2(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        a = self.up_1(torch.cat([F.interpolate(b, scale_factor=2), a], 1))
        return self.reach * torch.tanh(self.out(a)).unflatten(1, (self.times, 2))


def integrate(velocities):
    """Displacement (n, 2, h, w) of points that follow the velocities from the first time to the last."""
    flow = torch.zeros_like(velocities[:, 0])
    for velocity in velocities.unbind(1):
        flow_previous = flow
        flow = flow_previous + warp(velocity, velocity)
    return flow


def bending(velocities):
    dy, dx = velocities[..., 1:, :] - velocities[..., :-1, :], velocities[..., 1:] - velocities[..., :-1]
    return (dy**2).mean() + (dx**2).mean()


def folded(flow):
    """Share of pixels whose Jacobian determinant is not positive."""
    dy, dx = flow[..., 1:, :-1] - flow[..., :-1, :-1], flow[..., :-1, 1:] - flow[..., :-1, :-1]
    determinant = (1 + dy[:, 0]) * (1 + dx[:, 1]) - dy[:, 1] * dx[:, 0]
    return (determinant <= 0).float().mean().item()


class Registration:
    def __init__(self, config):
        self.config = config
        self.net = VelocityNet(config["times"], config["width"], config["reach"])
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config["lr"])
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, config["epochs"])

    def train_epoch(self, loader):
        self.net.train()
        total = 0.0
        for moving, fixed, _, _ in loader:
            velocities = self.net(moving, fixed)
            difference = F.mse_loss(warp(moving, integrate(velocities)), fixed)
            loss = difference + self.config["smoothness"] * bending(velocities)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(moving)
        self.scheduler.step()
        return total / len(loader.dataset)

    @torch.no_grad()
    def evaluate(self, loader):
        """Dice of the lungs, folding, and the distance from the start after going there and back."""
        self.net.eval()
        values = []
        for moving, fixed, lungs_moving, lungs_fixed in loader:
            velocities = self.net(moving, fixed)
            forward, backward = integrate(velocities), integrate(-velocities.flip(1))
            warped = (warp(lungs_moving, forward) > 0.5).float()
            truth = (lungs_fixed > 0.5).float()
            dice = (2 * (warped * truth).sum((1, 2, 3)) / (warped.sum((1, 2, 3)) + truth.sum((1, 2, 3)))).mean().item()
            returned = (forward + warp(backward, forward)).norm(dim=1).mean().item()
            values.append((dice, folded(forward), returned, forward.norm(dim=1).mean().item()))
        return dict(zip(("dice", "folded", "there and back", "length"), np.mean(values, 0)))


def main():
    torch.manual_seed(CONFIG["seed"])
    train_set, val_set = BreathingPairs(CONFIG["pairs"], CONFIG["size"], 1), BreathingPairs(CONFIG["val_pairs"], CONFIG["size"], 2)
    train_loader = DataLoader(train_set, batch_size=CONFIG["batch_size"], shuffle=True)
    val_loader = DataLoader(val_set, batch_size=20)
    registration = Registration(CONFIG)
    for epoch in range(CONFIG["epochs"]):
        loss = registration.train_epoch(train_loader)
        metrics = registration.evaluate(val_loader)
        print(f"epoch {epoch + 1:2d} loss {loss:.5f} " + " ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print("final: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    main()
