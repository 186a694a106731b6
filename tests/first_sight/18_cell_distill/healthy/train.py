"""Distil a large cell classifier into a small one; settings in distill.yaml."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml

with open("distill.yaml") as f:
    CONF = yaml.safe_load(f)


def cells(n, rng, classes):
    """White-blood-cell-like crops; the class is the number of nuclear lobes."""
    yy, xx = np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 20), indexing="ij")
    images, kinds = np.zeros((n, 1, 20, 20), np.float32), rng.integers(0, classes, n)
    for image, kind in zip(images, kinds):
        start, lobes = rng.uniform(0, 6.3), kind + 1
        image[0] += 0.4 / (1 + np.exp((np.hypot(yy, xx) - rng.uniform(0.7, 0.85)) * 15))
        for j in range(lobes):
            a = start + 6.283 * j / lobes + rng.normal(0, 0.15)
            ring = 0.0 if lobes == 1 else rng.uniform(0.36, 0.46)
            size = rng.uniform(0.3, 0.4) if lobes == 1 else rng.uniform(0.17, 0.24)
            image[0] += 0.5 / (1 + np.exp((np.hypot(yy - ring * np.sin(a), xx - ring * np.cos(a)) - size) * 18))
        image += rng.normal(0, 0.1, image.shape)
    return torch.from_numpy(images), torch.from_numpy(kinds)


def network(width, classes):
    conv = lambda i, o: [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*conv(1, width), *conv(width, 2 * width), nn.Flatten(), nn.Linear(50 * width, classes))


class Distillation:
    """Student step: soft targets from the frozen large network, hard labels as they were read."""

    def __init__(self, large, small, conf):
        self.large, self.small = large.eval(), small
        self.temperature, self.alpha = conf["temperature"], conf["alpha"]
        self.kl_div = nn.KLDivLoss(reduction="batchmean")

    def losses(self, data, target):
        with torch.no_grad():
            large_logits = self.large(data)
        output = self.small(data)
        soft_targets = F.softmax(large_logits / self.temperature, dim=-1)
        soft_prob = F.log_softmax(output / self.temperature, dim=-1)
        soft_loss = self.kl_div(soft_prob, soft_targets) * self.temperature ** 2
        label_loss = F.cross_entropy(output, target)
        return self.alpha * soft_loss + (1 - self.alpha) * label_loss, soft_loss, label_loss


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()


def batches(x, y, size):
    for pick in torch.randperm(len(x)).split(size):
        yield x[pick], y[pick]


def main():
    torch.manual_seed(CONF["seed"])
    rng = np.random.default_rng(CONF["seed"])
    data, classes = CONF["data"], CONF["classes"]
    curated, routine, test = cells(data["curated"], rng, classes), cells(data["routine"], rng, classes), cells(data["test"], rng, classes)
    slips = torch.from_numpy(rng.random(len(routine[1])) < data["reading_errors"])
    read = torch.where(slips, torch.from_numpy(rng.integers(0, classes, len(slips))), routine[1])

    large = network(CONF["large"]["width"], classes)
    opt = torch.optim.Adam(large.parameters(), CONF["large"]["lr"])
    for epoch in range(CONF["large"]["epochs"]):
        large.train()
        for x, y in batches(*curated, 32):
            loss = F.cross_entropy(large(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
    print(f"large network: test_accuracy {accuracy(large, *test):.3f}")

    small = network(CONF["small"]["width"], classes)
    trainer = Distillation(large, small, CONF["distill"])
    opt = torch.optim.Adam(small.parameters(), CONF["small"]["lr"])
    for epoch in range(CONF["small"]["epochs"]):
        small.train()
        soft_sum = label_sum = count = 0
        for x, y in batches(routine[0], read, 32):
            loss, soft, label = trainer.losses(x, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            soft_sum, label_sum, count = soft_sum + soft.item(), label_sum + label.item(), count + 1
        print(f"epoch {epoch} soft {soft_sum / count:.4f} label {label_sum / count:.4f} test_accuracy {accuracy(small, *test):.3f}")


if __name__ == "__main__":
    main()
