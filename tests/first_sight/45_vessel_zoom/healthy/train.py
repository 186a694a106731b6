"""Retinal vessels, augmented by a small pipeline of operations on image and mask."""
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFilter
from torch.utils.data import DataLoader, Dataset

SIZE = 64


def fundus(seed):
    """A disc with a branching tree; the mask is the tree."""
    rng = random.Random(seed)
    mask = Image.new("L", (SIZE, SIZE), 0)
    draw = ImageDraw.Draw(mask)
    start = (rng.uniform(8, 20), rng.uniform(24, 40))
    for _ in range(5):
        x, y, angle, width = *start, rng.uniform(-1.3, 1.3), rng.choice([1, 2, 2, 3])
        for _ in range(14):
            nx, ny = x + 5 * np.cos(angle), y + 5 * np.sin(angle)
            draw.line([x, y, nx, ny], fill=255, width=width)
            x, y, angle = nx, ny, angle + rng.uniform(-0.45, 0.45)
    tree = np.asarray(mask, np.float32) / 255
    yy, xx = np.mgrid[:SIZE, :SIZE]
    noise = np.random.default_rng(seed)
    light = 0.75 - 0.25 * (((yy - SIZE / 2) ** 2 + (xx - SIZE / 2) ** 2) / (SIZE / 2) ** 2) * rng.uniform(0.5, 1)
    blots = np.asarray(Image.fromarray(noise.uniform(0, 255, (8, 8)).astype(np.uint8)).resize((SIZE, SIZE), Image.BICUBIC), np.float32) / 255
    image = light + 0.25 * (blots - 0.5) - 0.22 * tree + noise.normal(0, 0.05, tree.shape)
    image = Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.5))
    return image, mask


class Operation:
    def __init__(self, probability):
        self.probability = probability


class FlipRandom(Operation):
    def perform_operation(self, images):
        which = random.choice([Image.FLIP_LEFT_RIGHT, Image.FLIP_TOP_BOTTOM])
        return [image.transpose(which) for image in images]


class ZoomRandom(Operation):
    """Crops a part of the given share of the area, anywhere, and scales it up again."""

    def __init__(self, probability, percentage_area):
        super().__init__(probability)
        self.percentage_area = percentage_area

    def perform_operation(self, images):
        w, h = images[0].size
        nw, nh = int(w * self.percentage_area**0.5), int(h * self.percentage_area**0.5)
        left, top = random.randint(0, w - nw), random.randint(0, h - nh)

        def do(image):
            part = image.crop((left, top, left + nw, top + nh))
            return part.resize((w, h), Image.BILINEAR)

        return [do(image) for image in images]


class Pipeline:
    def __init__(self):
        self.operations = []

    def flip_random(self, probability):
        self.operations.append(FlipRandom(probability))

    def zoom_random(self, probability, percentage_area):
        self.operations.append(ZoomRandom(probability, percentage_area))

    def __call__(self, images):
        for operation in self.operations:
            if random.random() < operation.probability:
                images = operation.perform_operation(images)
        return images


class Vessels(Dataset):
    def __init__(self, seeds, pipeline=None):
        self.pairs = [fundus(seed) for seed in seeds]
        self.pipeline = pipeline

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        image, mask = self.pairs[i]
        if self.pipeline is not None:
            image, mask = self.pipeline([image, mask])
        x = torch.from_numpy(np.array(image, np.float32) / 255)[None]
        y = torch.from_numpy((np.array(mask) > 127).astype(np.float32))[None]
        return (x - 0.6) / 0.2, y


def conv(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
                         nn.Conv2d(cout, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, ch=10):
        super().__init__()
        self.a, self.b, self.c = conv(1, ch), conv(ch, 2 * ch), conv(2 * ch, 4 * ch)
        self.d, self.e, self.out = conv(6 * ch, 2 * ch), conv(3 * ch, ch), nn.Conv2d(ch, 1, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        c = self.c(F.max_pool2d(b, 2))
        d = self.d(torch.cat([F.interpolate(c, scale_factor=2, mode="nearest"), b], 1))
        return self.out(self.e(torch.cat([F.interpolate(d, scale_factor=2, mode="nearest"), a], 1)))


def main():
    random.seed(0)
    torch.manual_seed(0)
    p = Pipeline()
    p.flip_random(0.5)
    p.zoom_random(0.8, percentage_area=0.6)
    train = DataLoader(Vessels(range(160), p), batch_size=8, shuffle=True)
    val = DataLoader(Vessels(range(900, 932)), batch_size=8)
    net = UNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(1, 15):
        net.train()
        total = 0.0
        for x, y in train:
            logits = net(x)
            p_ = torch.sigmoid(logits)
            dice = 1 - (2 * (p_ * y).sum() + 1) / (p_.sum() + y.sum() + 1)
            loss = F.binary_cross_entropy_with_logits(logits, y) + dice
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        net.eval()
        inter = size = 0.0
        with torch.no_grad():
            for x, y in val:
                hard = (net(x) > 0).float()
                inter += (hard * y).sum().item()
                size += (hard.sum() + y.sum()).item()
        print(f"epoch {epoch:2d}  loss {total / len(train):.4f}  val dice {2 * inter / size:.4f}")
    torch.save(net.state_dict(), "vessels.pth")


if __name__ == "__main__":
    main()
