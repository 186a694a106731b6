"""Retinal vessel segmentation: training on windows of the fundus images, validation on whole cases."""
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

SHAPE = (112, 144)
WINDOW = (32, 32)
OVERLAP = 0.5


def draw_vessel(mask, rng, point, heading, width, steps):
    for _ in range(steps):
        heading += rng.normal(0, 0.12)
        point = point + np.array([math.sin(heading), math.cos(heading)])
        row, col = np.round(point).astype(int)
        if not (0 <= row < SHAPE[0] and 0 <= col < SHAPE[1]):
            return
        half = max(int(round(width)), 0)
        mask[max(row - half, 0):row + half + 1, max(col - half, 0):col + half + 1] = 1
        if width > 0.6 and rng.random() < 0.035:
            draw_vessel(mask, rng, point, heading + rng.choice([-0.7, 0.7]), width * 0.6, 45)
        width *= 0.994


def make_case(rng):
    mask = np.zeros(SHAPE, np.float32)
    disc = np.array([rng.uniform(35, 75), rng.uniform(20, 40)])
    for _ in range(8):
        draw_vessel(mask, rng, disc, rng.uniform(-1.6, 1.6), rng.uniform(0.9, 1.5), 130)
    rows, cols = np.mgrid[:SHAPE[0], :SHAPE[1]]
    background = 0.6 + 0.12 * gaussian_filter(rng.normal(0, 1, SHAPE), 8) / 0.035
    background += 0.35 * np.exp(-((rows - disc[0]) ** 2 + (cols - disc[1]) ** 2) / 60)
    background -= 0.18 * (gaussian_filter(rng.normal(0, 1, SHAPE), 1.2) > 0.28)
    image = background - 0.2 * gaussian_filter(mask, 0.6) + rng.normal(0, 0.05, SHAPE)
    return torch.tensor(image, dtype=torch.float32)[None], torch.tensor(mask)[None]


def pad_to_grid(x, window_shape, stride):
    extra = [(-(size - w)) % s if size > w else w - size for size, w, s in zip(x.shape[1:], window_shape, stride)]
    return F.pad(x, (0, extra[1], 0, extra[0]), mode="reflect")


def do_sliding_window(x, window_shape, overlap=0.5):
    """Cuts a (channels, height, width) image into windows; also returns the numbers of rows and columns."""
    stride = tuple(int(s * (1 - overlap)) for s in window_shape)
    x = pad_to_grid(x, window_shape, stride)
    windows = x.unfold(1, window_shape[0], stride[0]).unfold(2, window_shape[1], stride[1])
    layout = windows.shape[1:3]
    return windows.permute(1, 2, 0, 3, 4).flatten(0, 1), layout


def revert_sliding_window(windows, layout, shape, overlap=0.5):
    """Puts windows back together, averages where they overlap and crops to the shape of the case."""
    channels, *window_shape = windows.shape[1:]
    stride = tuple(int(w * (1 - overlap)) for w in window_shape)
    extent = [max(s, (n - 1) * d + w) for s, n, d, w in zip(shape, layout, stride, window_shape)]
    output, weights = torch.zeros(channels, *extent), torch.zeros(1, *extent)
    for k, window in enumerate(windows):
        row, col = k // layout[1] * stride[0], k % layout[1] * stride[1]
        output[:, row:row + window_shape[0], col:col + window_shape[1]] += window
        weights[:, row:row + window_shape[0], col:col + window_shape[1]] += 1
    return (output / weights.clamp(min=1))[:, :shape[0], :shape[1]]


def slide_dataset(cases):
    images, labels = [], []
    for image, label in cases:
        images.append(do_sliding_window(image, WINDOW, OVERLAP)[0])
        labels.append(do_sliding_window(label, WINDOW, OVERLAP)[0])
    return torch.cat(images), torch.cat(labels)


class VesselNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True), nn.LeakyReLU(0.1))
        self.down = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.InstanceNorm2d(2 * width, affine=True), nn.LeakyReLU(0.1),
                                  nn.Conv2d(2 * width, 2 * width, 3, padding=2, dilation=2), nn.LeakyReLU(0.1))
        self.leave = nn.Sequential(nn.Conv2d(3 * width, width, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(width, 1, 1))

    def forward(self, x):
        x = self.enter(x)
        return self.leave(torch.cat([x, F.interpolate(self.down(x), scale_factor=2, mode="bilinear")], 1))


def dice(predicted, label):
    return (2 * (predicted * label).sum() / (predicted.sum() + label.sum()).clamp(min=1)).item()


class Trainer:
    def __init__(self, train_cases, val_cases, lr=3e-3, batch_size=32):
        self.model, self.batch_size = VesselNet(), batch_size
        self.images, self.labels = slide_dataset(train_cases)
        self.val_cases = val_cases
        self.val_images, self.val_labels = slide_dataset(val_cases)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)

    def train_epoch(self):
        self.model.train()
        losses = []
        for index in torch.randperm(len(self.images)).split(self.batch_size):
            logits, label = self.model(self.images[index]), self.labels[index]
            probability = torch.sigmoid(logits)
            overlap = (2 * (probability * label).sum() + 1) / (probability.sum() + label.sum() + 1)
            loss = F.binary_cross_entropy_with_logits(logits, label) + 1 - overlap
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return np.mean(losses)

    @torch.no_grad()
    def validate_windows(self):
        self.model.eval()
        return dice((self.model(self.val_images) > 0).float(), self.val_labels)

    @torch.no_grad()
    def validate_case(self, image, label):
        windows, layout = do_sliding_window(image, WINDOW, OVERLAP)
        probability = revert_sliding_window(torch.sigmoid(self.model(windows)), layout, image.shape[1:], OVERLAP)
        return dice((probability > 0.5).float(), label)

    def train(self, epochs):
        print(f"{len(self.images)} windows for training, {len(self.val_images)} for validation")
        for epoch in range(1, epochs + 1):
            loss = self.train_epoch()
            windows = self.validate_windows()
            cases = np.mean([self.validate_case(image, label) for image, label in self.val_cases])
            print(f"epoch {epoch} combined loss {loss:.4f} window Dice {windows:.4f} case Dice {cases:.4f}")


def main():
    torch.manual_seed(5)
    rng = np.random.default_rng(5)
    cases = [make_case(rng) for _ in range(26)]
    Trainer(cases[:20], cases[20:]).train(epochs=7)


if __name__ == "__main__":
    main()
