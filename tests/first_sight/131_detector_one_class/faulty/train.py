"""Two kinds of lung findings (round nodules, flat scars): one-stage detector with anchors, class Trainer."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

CONFIG = dict(size=64, stride=8, anchor_sides=(10.0, 17.0), num_train=224, num_test=96, batch=16, epochs=9, lr=2e-3,
              pos_iou=0.4, neg_iou=0.3, score=0.1, nms=0.3, seed=5)
NAMES = {1: "nodule", 2: "scar"}


class Findings(Dataset):
    def __init__(self, count, size, seed):
        rng = np.random.default_rng(seed)
        self.items = [self.draw(rng, size) for _ in range(count)]

    @staticmethod
    def draw(rng, size):
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        image = 0.25 + 0.08 * np.sin(x / rng.uniform(5, 9) + rng.uniform(0, 6)) * np.sin(y / rng.uniform(5, 9))
        boxes, labels, centres = [], [], []
        for _ in range(rng.integers(1, 4)):
            kind = int(rng.integers(1, 3))
            a, b = (rng.uniform(4, 6.5),) * 2 if kind == 1 else (rng.uniform(7, 11), rng.uniform(3, 4.5))
            cx, cy = rng.uniform(12, size - 12, 2)
            if any(np.hypot(cx - u, cy - v) < 18 for u, v in centres):
                continue
            radius = np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2)
            image += rng.uniform(0.3, 0.5) / (1 + np.exp(np.clip(9 * (radius - 1), -30, 30)))
            boxes.append([cx - a, cy - b, cx + a, cy + b])
            labels.append(kind)
            centres.append((cx, cy))
        image = (image + rng.normal(0, 0.05, image.shape) - 0.3) / 0.2
        return torch.tensor(image[None], dtype=torch.float32), torch.tensor(boxes, dtype=torch.float32), torch.tensor(labels)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(items):
    images, boxes, labels = zip(*items)
    return torch.stack(images), boxes, labels


def iou(a, b):
    inter = (torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])).clamp(min=0).prod(-1)
    area = [(t[:, 2:] - t[:, :2]).prod(1) for t in (a, b)]
    return inter / (area[0][:, None] + area[1][None] - inter)


def encode(boxes, anchors):
    side = anchors[:, 2:] - anchors[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / 2
    return torch.cat([centre / side / 0.1, ((boxes[:, 2:] - boxes[:, :2]) / side).log() / 0.2], 1)


def decode(deltas, anchors):
    side = anchors[:, 2:] - anchors[:, :2]
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * 0.1 * side
    half = side * (deltas[:, 2:] * 0.2).clamp(max=2).exp() / 2
    return torch.cat([centre - half, centre + half], 1)


class Detector(nn.Module):
    def __init__(self, anchors_per_cell, width=16):
        super().__init__()
        layers, c = [], 1
        for out, stride in ((width, 2), (2 * width, 2), (3 * width, 2), (3 * width, 1)):
            layers += [nn.Conv2d(c, out, 3, stride, 1), nn.BatchNorm2d(out), nn.ReLU()]
            c = out
        self.body = nn.Sequential(*layers)
        self.classes, self.boxes = nn.Conv2d(c, 3 * anchors_per_cell, 3, 1, 1), nn.Conv2d(c, 4 * anchors_per_cell, 3, 1, 1)

    def forward(self, x):
        h = self.body(x)
        return [head(h).permute(0, 2, 3, 1).reshape(len(x), -1, k) for head, k in ((self.classes, 3), (self.boxes, 4))]


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        torch.manual_seed(cfg["seed"])
        grid = (torch.arange(cfg["size"] // cfg["stride"]) + 0.5) * cfg["stride"]
        y, x = torch.meshgrid(grid, grid, indexing="ij")
        centre = torch.stack([x, y], -1)[:, :, None].expand(-1, -1, len(cfg["anchor_sides"]), 2).reshape(-1, 2)
        half = torch.tensor(cfg["anchor_sides"]).repeat(len(grid) ** 2)[:, None] / 2
        self.anchors = torch.cat([centre - half, centre + half], 1)
        self.net = Detector(len(cfg["anchor_sides"]))
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=cfg["lr"], weight_decay=1e-3)
        self.train_loader = DataLoader(Findings(cfg["num_train"], cfg["size"], 1), cfg["batch"], shuffle=True, collate_fn=collate)
        self.test_set = Findings(cfg["num_test"], cfg["size"], 2)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, cfg["epochs"] * len(self.train_loader))

    def assign(self, boxes, labels):
        """Matches: -1 is left out, 0 is background, anything above is the number of the class; and the box of each anchor."""
        overlap = iou(self.anchors, boxes)
        best, which = overlap.max(1)
        matches = torch.full((len(self.anchors),), -1)
        matches[best < self.cfg["neg_iou"]] = 0
        positive = best >= self.cfg["pos_iou"]
        matches[positive] = labels[which[positive]]
        favourite = overlap.argmax(0)
        which[favourite] = torch.arange(len(boxes))
        matches[favourite] = labels
        return matches, boxes[which]

    def class_loss(self, logits, matches):
        used = matches >= 0
        entropy = F.cross_entropy(logits[used], matches[used], reduction="none")
        positive = matches[used] > 0
        hard = entropy[~positive].topk(min(3 * int(positive.sum()), int((~positive).sum())))[0]
        return (entropy[positive].mean() + hard.mean()) / 2

    def box_loss(self, deltas, matches, boxes):
        found = matches == 1
        return F.smooth_l1_loss(deltas[found], encode(boxes[found], self.anchors[found])) if found.any() else 0.0 * deltas.sum()

    def fit(self):
        for epoch in range(self.cfg["epochs"]):
            self.net.train()
            log = []
            for images, boxes, labels in self.train_loader:
                logits, deltas = self.net(images)
                losses = []
                for i in range(len(images)):
                    matches, targets = self.assign(boxes[i], labels[i])
                    losses.append(torch.stack([self.class_loss(logits[i], matches), self.box_loss(deltas[i], matches, targets)]))
                parts = torch.stack(losses).mean(0)
                self.optimizer.zero_grad()
                parts.sum().backward()
                self.optimizer.step()
                self.scheduler.step()
                log.append(parts.detach())
            print(f"epoch {epoch + 1:2d} class {torch.stack(log).mean(0)[0]:.3f} box {torch.stack(log).mean(0)[1]:.3f}")

    @torch.no_grad()
    def detect(self, image):
        logits, deltas = (t[0] for t in self.net(image[None]))
        probability, boxes, kept = logits.softmax(-1), decode(deltas, self.anchors), []
        for k in NAMES:
            for j in probability[:, k].argsort(descending=True).tolist():
                if probability[j, k] < self.cfg["score"]:
                    break
                mine = [b for b, c, _ in kept if c == k]
                if not mine or iou(boxes[j : j + 1], torch.stack(mine)).max() < self.cfg["nms"]:
                    kept.append((boxes[j], k, probability[j, k].item()))
        return kept

    def evaluate(self, threshold=0.5):
        self.net.eval()
        rows, truth = {k: [] for k in NAMES}, {k: 0 for k in NAMES}
        for image, boxes, labels in self.test_set:
            detections = self.detect(image)
            for k in NAMES:
                real = boxes[labels == k]
                truth[k], free = truth[k] + len(real), torch.ones(len(real))
                for box, _, score in sorted((d for d in detections if d[1] == k), key=lambda d: -d[2]):
                    hit = False
                    if len(real):
                        value, j = (iou(box[None], real)[0] * free).max(0)
                        hit = value.item() >= threshold
                        free[j] = 0 if hit else free[j]
                    rows[k].append((score, hit))
        result = {}
        for k in NAMES:
            hits = np.array([h for _, h in sorted(rows[k], key=lambda r: -r[0])], float)
            precision, recall = hits.cumsum() / np.arange(1, len(hits) + 1), hits.cumsum() / truth[k]
            precision = np.maximum.accumulate(precision[::-1])[::-1]
            result[NAMES[k]] = float((precision * np.diff(recall, prepend=0)).sum())
        return result


if __name__ == "__main__":
    trainer = Trainer(CONFIG)
    trainer.fit()
    print("AP at 0.5: " + ", ".join(f"{name} {value:.3f}" for name, value in trainer.evaluate().items()))
