"""Masses in mammograms: a small detector without anchors, written as a module with its own fitting loop."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE, STRIDE = 64, 4


class Mammograms(Dataset):
    """Image, heat map of centres, width and height at the centres, and boxes; two thirds of the images show no mass."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.items = [self.draw(rng) for _ in range(count)]

    @staticmethod
    def draw(rng):
        y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
        image = 0.3 + 0.1 * np.cos(x / rng.uniform(8, 14) + rng.uniform(0, 6)) + 0.1 * np.cos(y / rng.uniform(8, 14) + rng.uniform(0, 6))
        for _ in range(rng.integers(1, 4)):
            cx, cy, radius = rng.uniform(6, SIZE - 6), rng.uniform(6, SIZE - 6), rng.uniform(2.5, 5)
            image += rng.uniform(0.12, 0.3) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
        boxes = []
        for _ in range(rng.choice([0, 1, 2], p=[0.65, 0.25, 0.1])):
            cx, cy = rng.uniform(9, SIZE - 9, 2)
            a, b = rng.uniform(3.5, 7.5, 2)
            inside = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2
            image += rng.uniform(0.15, 0.3) / (1 + np.exp(8 * (np.sqrt(inside) - 1)))
            boxes.append([cx - a, cy - b, cx + a, cy + b])
        image = (image + rng.normal(0, 0.06, image.shape) - 0.4) / 0.2
        cells = SIZE // STRIDE
        heat, extent = np.zeros((1, cells, cells), np.float32), np.zeros((2, cells, cells), np.float32)
        v, u = np.mgrid[0:cells, 0:cells]
        for x0, y0, x1, y1 in boxes:
            i, j = int((x0 + x1) / 2 / STRIDE), int((y0 + y1) / 2 / STRIDE)
            heat[0] = np.maximum(heat[0], np.exp(-((u - i) ** 2 + (v - j) ** 2) / 0.8))
            extent[:, j, i] = np.log([(x1 - x0) / STRIDE, (y1 - y0) / STRIDE])
        arrays = (image[None].astype(np.float32), heat, extent)
        return (*(torch.from_numpy(a) for a in arrays), torch.tensor(boxes, dtype=torch.float32).view(-1, 4))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def collate(items):
    image, heat, extent, boxes = zip(*items)
    return torch.stack(image), torch.stack(heat), torch.stack(extent), list(boxes)


def box_iou(a, b):
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).prod(1) for box in (a, b))
    return common / (area_a[:, None] + area_b[None, :] - common)


def match(boxes, truth, threshold):
    """Whether each box, sorted by falling score, is the first to hit a true box."""
    hits, free = torch.zeros(len(boxes), dtype=torch.bool), torch.ones(len(truth), dtype=torch.bool)
    for i, row in enumerate(box_iou(boxes, truth)):
        candidates = row * free
        if len(truth) > 0 and candidates.max() >= threshold:
            free[candidates.argmax()] = False
            hits[i] = True
    return hits


def average_precision(results, threshold=0.4):
    """Area under the interpolated curve of precision over recall, from (boxes, scores, true boxes) of each image."""
    hits, scores, positives = [], [], 0
    for boxes, score, truth in results:
        if len(boxes) == 0 and len(truth) == 0:
            continue
        positives += len(truth)
        order = score.argsort(descending=True)
        hits.append(match(boxes[order], truth, threshold))
        scores.append(score[order])
    order = torch.cat(scores).argsort(descending=True)
    hit = torch.cat(hits)[order].float()
    recall, precision = hit.cumsum(0) / positives, hit.cumsum(0) / torch.arange(1, len(hit) + 1)
    precision = precision.flip(0).cummax(0)[0].flip(0)
    return (precision * torch.diff(recall, prepend=torch.zeros(1))).sum().item()


class Detector(nn.Module):
    def __init__(self, width=16, lr=2e-3):
        super().__init__()
        layers, channels = [], 1
        for out, stride in ((width, 2), (2 * width, 2), (2 * width, 1), (3 * width, 1)):
            layers += [nn.Conv2d(channels, out, 3, stride, 1), nn.BatchNorm2d(out), nn.ReLU()]
            channels = out
        self.body = nn.Sequential(*layers)
        self.heat, self.extent = nn.Conv2d(channels, 1, 1), nn.Conv2d(channels, 2, 1)
        nn.init.constant_(self.heat.bias, -3.0)
        self.lr = lr

    def forward(self, x):
        h = self.body(x)
        return self.heat(h), self.extent(h)

    def configure_optimizers(self, epochs):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)

    def training_step(self, batch):
        image, heat, extent, _ = batch
        logits, sizes = self(image)
        p, centre = logits.sigmoid(), (extent.abs().sum(1, keepdim=True) > 0).float()
        focal = -centre * (1 - p) ** 2 * F.logsigmoid(logits) - (1 - centre) * (1 - heat) ** 4 * p**2 * F.logsigmoid(-logits)
        size_loss = (F.l1_loss(sizes, extent, reduction="none") * centre).sum()
        return (focal.sum() + 0.5 * size_loss) / centre.sum().clamp(min=1)

    @torch.no_grad()
    def predict_step(self, image, least=0.1):
        """Boxes and scores of each image, from the local maxima of the heat map."""
        logits, sizes = self(image)
        p = logits.sigmoid()
        peaks = (F.max_pool2d(p, 3, 1, 1) == p) & (p > least)
        output = []
        for score, peak, size in zip(p[:, 0], peaks[:, 0], sizes):
            j, i = peak.nonzero(as_tuple=True)
            centre = (torch.stack([i, j], 1) + 0.5) * STRIDE
            half = size[:, j, i].T.exp() * STRIDE / 2
            output.append((torch.cat([centre - half, centre + half], 1), score[j, i]))
        return output


def fit(module, train_loader, val_loader, epochs):
    optimizer, scheduler = module.configure_optimizers(epochs)
    for epoch in range(epochs):
        module.train()
        losses = []
        for batch in train_loader:
            loss = module.training_step(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        metrics = validate(module, val_loader)
        print(f"epoch {epoch + 1:2d} loss {np.mean(losses):.4f} " + " ".join(f"{k} {v:.4f}" for k, v in metrics.items()))
    return metrics


def validate(module, loader):
    module.eval()
    results = []
    for image, _, _, truths in loader:
        results += [(boxes, scores, truth) for (boxes, scores), truth in zip(module.predict_step(image), truths)]
    return {"AP": average_precision(results), "boxes": float(np.mean([len(boxes) for boxes, _, _ in results]))}


if __name__ == "__main__":
    torch.manual_seed(8)
    train_loader = DataLoader(Mammograms(480, 1), batch_size=24, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(Mammograms(200, 2), batch_size=50, collate_fn=collate)
    final = fit(Detector(), train_loader, val_loader, epochs=9)
    print("final: " + ", ".join(f"{name} {value:.4f}" for name, value in final.items()) + " in each image")
