"""Small lesions in large liver slices: patches drawn after a map of sampling weights, sliding windows in the validation."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SEED, SIZE, PATCH = 11, 96, 24
CASES, VAL_CASES, PATCHES_A_CASE = 24, 12, 16
EPOCHS, BATCH, RATE = 8, 24, 3e-3


def liver_slice(rng):
    """Image with lesions (rims), cysts, vessels and ribs at the edge of the field, and the lesion mask."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    image = 0.1 * np.sin(x / rng.uniform(8, 16) + rng.uniform(0, 6)) * np.cos(y / rng.uniform(8, 16))
    mask = np.zeros((SIZE, SIZE), bool)
    for cx in rng.uniform(6, SIZE - 6, 5):
        cy, radius = rng.choice([8, SIZE - 8]) + rng.uniform(-2, 2), rng.uniform(2.5, 4)
        image[np.hypot(x - cx, y - cy) < radius] = 0.9
        image[np.hypot(x - cx, y - cy) < radius - 1.4] = 0.35
    for _ in range(rng.integers(3, 6)):
        start, angle, bend = rng.uniform(10, 86, 2), rng.uniform(0, np.pi), rng.uniform(-0.02, 0.02)
        u = (x - start[0]) * np.cos(angle) + (y - start[1]) * np.sin(angle)
        v = (y - start[1]) * np.cos(angle) - (x - start[0]) * np.sin(angle) - bend * u**2
        image[(np.abs(v) < rng.uniform(1.2, 2.0)) & (np.abs(u) < 30)] += 0.5
    for i in range(rng.integers(5, 8)):
        cx, cy = rng.uniform(30, SIZE - 30, 2)
        radius, distance = rng.uniform(3.0, 4.5), np.hypot(x - cx, y - cy)
        if i < 2:
            image[distance < radius] = 0.5
            image[distance < radius - 1.6] = 0.25
            mask |= distance < radius
        else:
            image[distance < radius] = 0.5
            mask &= ~(distance < radius)
    return (image + rng.normal(0, 0.08, image.shape)).astype(np.float32), mask.astype(np.float32)


def weight_map(mask):
    """Lesion and background weigh about as much as each other in the whole slice, as in the usual balanced sampling."""
    share = mask.mean()
    return np.where(mask > 0, 1 / share, 1 / (1 - share)).astype(np.float64)


class WeightedSampler:
    """Centres of patches by inversion of the cumulative weights of all places where a whole patch fits."""

    def __init__(self, weights, rng):
        half = PATCH // 2
        inner = weights[half : SIZE - half, half : SIZE - half]
        self.shape, self.half, self.rng = inner.shape, half, rng
        flat = inner.ravel()
        order = np.argsort(flat, kind="stable")
        steps = flat[order]
        self.order, self.cumulative = order, np.cumsum(steps)

    def __call__(self, count):
        draws = self.rng.uniform(0, self.cumulative[-1], count)
        places = self.order[np.searchsorted(self.cumulative, draws, side="right")]
        return np.stack(np.unravel_index(places, self.shape), 1) + self.half


def cut(image, mask, centre):
    window = tuple(slice(c - PATCH // 2, c + PATCH // 2) for c in centre)
    return image[window], mask[window]


def draw_epoch(cases, samplers, rng):
    pairs, on_lesion = [], 0
    for (image, mask), sampler in zip(cases, samplers):
        for centre in sampler(PATCHES_A_CASE):
            pairs.append(cut(image, mask, centre))
            on_lesion += mask[tuple(centre)]
    rng.shuffle(pairs)
    images, masks = (torch.from_numpy(np.stack(part))[:, None] for part in zip(*pairs))
    return images, masks, on_lesion / len(pairs)


def conv(cin, cout, dilation=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=dilation, dilation=dilation), nn.BatchNorm2d(cout), nn.ReLU())


class Net(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.first = nn.Sequential(conv(1, width), conv(width, width))
        self.second = nn.Sequential(conv(width, 2 * width), conv(2 * width, 2 * width, 2))
        self.last = nn.Sequential(conv(3 * width, width), nn.Conv2d(width, 1, 1))

    def forward(self, x):
        a = self.first(x)
        b = self.second(F.max_pool2d(a, 2))
        return self.last(torch.cat([a, F.interpolate(b, scale_factor=2.0, mode="bilinear", align_corners=False)], 1))


def criterion(logits, mask):
    p = logits.sigmoid()
    dice = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
    return dice + F.binary_cross_entropy_with_logits(logits, mask)


@torch.no_grad()
def whole_slice(net, image, step=PATCH // 2):
    total, count = torch.zeros(SIZE, SIZE), torch.zeros(SIZE, SIZE)
    corners = [(i, j) for i in range(0, SIZE - PATCH + 1, step) for j in range(0, SIZE - PATCH + 1, step)]
    patches = torch.stack([torch.from_numpy(image[i : i + PATCH, j : j + PATCH]) for i, j in corners])[:, None]
    for (i, j), p in zip(corners, net(patches).sigmoid()[:, 0]):
        total[i : i + PATCH, j : j + PATCH] += p
        count[i : i + PATCH, j : j + PATCH] += 1
    return (total / count).numpy() > 0.5


def validate(net, cases):
    net.eval()
    both = found = real = 0
    for image, mask in cases:
        prediction = whole_slice(net, image)
        both, found, real = both + (prediction * mask).sum(), found + prediction.sum(), real + mask.sum()
    return 2 * both / (found + real), both / max(found, 1), both / real


def run():
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    train, val = ([liver_slice(rng) for _ in range(n)] for n in (CASES, VAL_CASES))
    samplers = [WeightedSampler(weight_map(mask), rng) for _, mask in train]
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(1, EPOCHS + 1):
        images, masks, on_lesion = draw_epoch(train, samplers, rng)
        net.train()
        losses = []
        for x, y in zip(images.split(BATCH), masks.split(BATCH)):
            loss = criterion(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        dice, precision, recall = validate(net, val)
        print(f"epoch {epoch} loss {np.mean(losses):.3f} centres on lesions {on_lesion:.2f} "
              f"| Dice {dice:.3f} precision {precision:.3f} recall {recall:.3f}")


if __name__ == "__main__":
    run()
