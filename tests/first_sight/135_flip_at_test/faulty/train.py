"""Glioma or metastasis from three MR sequences: quick training with one cycle, flips at test time."""
import time

import numpy as np
import torch as ch
import torch.nn as nn

SEQUENCES = ("t1", "t2", "flair")
EPOCHS, BATCH, PEAK, SMOOTHING = 8, 40, 0.004, 0.05


def make_case(rng, label, size=36):
    """Both kinds show an enhancing rim in T1; oedema (and the core a little) differ in T2 and FLAIR."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    head = ((x - size / 2) / (0.44 * size)) ** 2 + ((y - size / 2) / (0.48 * size)) ** 2 < 1
    side = rng.choice([-1, 1])
    cx, cy, radius = size / 2 + side * rng.uniform(4, 8), rng.uniform(0.35, 0.65) * size, rng.uniform(3, 5)
    distance = np.hypot(x - cx, y - cy)
    core, rim = distance < radius - 1.2, (distance < radius) & (distance >= radius - 1.2)
    around = (distance < radius + rng.uniform(2, 4)) & (distance >= radius)
    gyri = 0.1 * np.sin(x / rng.uniform(1.5, 3) + rng.uniform(0, 6)) * np.sin(y / rng.uniform(1.5, 3) + rng.uniform(0, 6))
    strength = rng.uniform(0.2, 0.5)
    t1 = 0.55 + gyri + 0.4 * rim - 0.15 * core
    t2 = 0.45 - gyri + (0.5 if label else 0.15) * strength * around + 0.2 * core
    flair = 0.40 - gyri + (0.15 if label else 0.5) * strength * around + (0.1 if label else 0.0) * core
    return (head * np.stack([t1, t2, flair]) + rng.normal(0, 0.17, (3, size, size))).astype(np.float32)


def load(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = ch.from_numpy(np.stack([make_case(rng, label) for label in labels]))
    return images, ch.from_numpy(labels)


def normalize(images, mean, std):
    return (images - mean[:, None, None]) / std[:, None, None]


def epoch_batches(images, labels):
    order = ch.randperm(len(images))
    for rows in order.split(BATCH):
        batch = images[rows]
        flip = ch.rand(len(batch)) < 0.5
        batch[flip] = batch[flip].flip(-1)
        yield batch, labels[rows]


class Mul(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, x):
        return x * self.weight


def conv_bn(cin, cout, kernel_size=3, stride=1, padding=1):
    return nn.Sequential(nn.Conv2d(cin, cout, kernel_size, stride, padding, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return x + self.module(x)


def construct_model(width=12):
    return nn.Sequential(
        conv_bn(len(SEQUENCES), width),
        conv_bn(width, 2 * width, stride=2),
        Residual(conv_bn(2 * width, 2 * width)),
        conv_bn(2 * width, 4 * width, stride=2),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, 2, bias=False),
        Mul(0.2),
    )


def train(model, images, labels):
    steps = EPOCHS * -(-len(images) // BATCH)
    optimizer = ch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=5e-3)
    schedule = np.interp(np.arange(steps + 1), [0, 0.25 * steps, steps], [0.2, 1, 0])
    scheduler = ch.optim.lr_scheduler.LambdaLR(optimizer, schedule.__getitem__)
    criterion = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    model.train()
    for epoch in range(EPOCHS):
        losses = []
        for x, y in epoch_batches(images, labels):
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} loss {np.mean(losses):.4f}")


@ch.no_grad()
def evaluate(model, images, labels, lr_tta):
    model.eval()
    correct = 0
    for x, y in zip(images.split(100), labels.split(100)):
        out = model(x)
        if lr_tta:
            out = out + model(ch.fliplr(x))
        correct += (out.argmax(1) == y).sum().item()
    return 100 * correct / len(labels)


def main():
    ch.manual_seed(4)
    start = time.time()
    train_images, train_labels = load(480, seed=1)
    test_images, test_labels = load(400, seed=2)
    mean, std = train_images.mean((0, 2, 3)), train_images.std((0, 2, 3))
    train_images, test_images = normalize(train_images, mean, std), normalize(test_images, mean, std)
    model = construct_model()
    train(model, train_images, train_labels)
    print(f"time {time.time() - start:.1f} s")
    print(f"train accuracy {evaluate(model, train_images, train_labels, lr_tta=False):.1f}%")
    for tta in (False, True):
        print(f"test accuracy {evaluate(model, test_images, test_labels, lr_tta=tta):.1f}%" + (" with flips" if tta else ""))


if __name__ == "__main__":
    main()
