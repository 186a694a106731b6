"""Lymph nodes in CT slices with a small two-level detector in the way of YOLO (one class, boxes from anchors)."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml

MODEL_YAML = """
width: 12
strides: [4, 16]
anchors:                     # pixels
  - [[10, 10], [14, 14]]
  - [[20, 20], [28, 28]]
"""
HYP = dict(epochs=10, batch=16, lr=3e-3, anchor_t=2.0, box=1.5, obj=1.0, image=64, conf=0.25, iou=0.4)


def make_slice(rng, size=HYP["image"]):
    """Soft tissue with vessels (long) and nodes (round); boxes as centre, width, height in pixels."""
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
    image = 0.4 + 0.06 * np.sin(xx / 9 + rng.uniform(0, 6)) * np.cos(yy / 11 + rng.uniform(0, 6))
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-20, 20)
    image[np.abs((xx - size / 2) * np.cos(angle) + (yy - size / 2) * np.sin(angle) - offset) < 2.5] += 0.3
    boxes = []
    for _ in range(rng.integers(1, 4)):
        w = rng.uniform(9, 26)
        h = w * rng.uniform(0.8, 1.25)
        x, y = rng.uniform(w / 2, size - w / 2), rng.uniform(h / 2, size - h / 2)
        if all(np.hypot(x - b[0], y - b[1]) > 0.6 * (w + b[2]) for b in boxes):
            image += 0.3 / (1 + np.exp(6 * (np.hypot((xx - x) * 2 / w, (yy - y) * 2 / h) - 1)))
            boxes.append([x, y, w, h])
    image = (image + rng.normal(0, 0.05, image.shape) - 0.45) / 0.2
    return torch.tensor(image[None], dtype=torch.float32), torch.tensor(boxes, dtype=torch.float32)


def stage(c_in, c_out, stride):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.SiLU())


class Detect(nn.Module):
    """Output layers; anchors are kept in units of the grid of their level."""

    def __init__(self, anchors, strides, channels):
        super().__init__()
        self.register_buffer("stride", torch.tensor(strides, dtype=torch.float32))
        self.register_buffer("anchors", torch.tensor(anchors, dtype=torch.float32))
        self.layers = nn.ModuleList(nn.Conv2d(c, 5 * len(a), 1) for c, a in zip(channels, anchors))
        for layer in self.layers:
            nn.init.constant_(layer.bias.view(-1, 5)[:, 4].data, -4.0)

    def forward(self, features):
        return [layer(f).unflatten(1, (-1, 5)).permute(0, 1, 3, 4, 2) for layer, f in zip(self.layers, features)]


def check_anchor_order(head):
    """Anchors have to grow with the stride; turn them round if they do not."""
    area = head.anchors.prod(-1).mean(-1)
    if (area[-1] - area[0]).sign() != (head.stride[-1] - head.stride[0]).sign():
        head.anchors = head.anchors.flip(0)


class Detector(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        w = cfg["width"]
        self.fine = nn.Sequential(stage(1, w, 2), stage(w, 2 * w, 2), stage(2 * w, 2 * w, 1))
        self.coarse = nn.Sequential(stage(2 * w, 3 * w, 2), stage(3 * w, 4 * w, 2), stage(4 * w, 4 * w, 1))
        self.merge = nn.Sequential(nn.Conv2d(4 * w, 2 * w, 1), nn.Upsample(scale_factor=4))
        self.fuse = stage(4 * w, 2 * w, 1)
        self.head = Detect(cfg["anchors"], cfg["strides"], (2 * w, 4 * w))
        check_anchor_order(self.head)
        self.head.anchors = self.head.anchors / self.head.stride.view(-1, 1, 1)

    def forward(self, x):
        fine = self.fine(x)
        coarse = self.coarse(fine)
        return self.head([self.fuse(torch.cat([fine, self.merge(coarse)], 1)), coarse])


def decode(raw, anchors):
    """Centre inside the cell and size, both in grid units."""
    p = raw.sigmoid()
    return p[..., :2] * 2 - 0.5, (p[..., 2:4] * 2) ** 2 * anchors


def paired_iou(a, b):
    low, high = torch.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2), torch.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    common = (high - low).clamp(min=0).prod(1)
    return common / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - common + 1e-9)


def detection_loss(model, outputs, targets):
    """targets: one row for each box with image, x, y, w, h (pixels)."""
    box_loss, obj_loss = 0.0, 0.0
    for raw, anchors, stride in zip(outputs, model.head.anchors, model.head.stride):
        goal = torch.zeros_like(raw[..., 4])
        boxes = targets[:, 1:] / stride
        ratio = boxes[None, :, 2:] / anchors[:, None]
        kind, row = (torch.maximum(ratio, 1 / ratio).amax(2) < HYP["anchor_t"]).nonzero(as_tuple=True)
        if len(row):
            image, cell = targets[row, 0].long(), boxes[row, :2].long().clamp(max=raw.shape[2] - 1)
            shift, size = decode(raw[image, kind, cell[:, 1], cell[:, 0]], anchors[kind])
            iou = paired_iou(torch.cat([shift, size], 1), torch.cat([boxes[row, :2] - cell, boxes[row, 2:]], 1))
            box_loss = box_loss + (1 - iou).mean()
            goal[image, kind, cell[:, 1], cell[:, 0]] = 1.0
        obj_loss = obj_loss + F.binary_cross_entropy_with_logits(raw[..., 4], goal, reduction="sum") / max(goal.sum().item(), 1)
    return HYP["box"] * box_loss + HYP["obj"] * obj_loss


@torch.no_grad()
def detect(model, images):
    """Boxes (pixels) of every image after suppression of overlaps, by falling score."""
    pieces = []
    for raw, anchors, stride in zip(model(images), model.head.anchors, model.head.stride):
        shift, size = decode(raw, anchors[:, None, None])
        grid = torch.stack(torch.meshgrid(*[torch.arange(raw.shape[2])] * 2, indexing="xy"), -1)
        pieces.append(torch.cat([(shift + grid) * stride, size * stride, raw[..., 4:].sigmoid()], -1).flatten(1, 3))
    results = []
    for rows in torch.cat(pieces, 1):
        rows, kept = rows[rows[:, 4] > HYP["conf"]], []
        for row in rows[rows[:, 4].argsort(descending=True)]:
            if not kept or paired_iou(torch.stack(kept)[:, :4], row[None, :4].expand(len(kept), 4)).max() < HYP["iou"]:
                kept.append(row)
        results.append(torch.stack(kept) if kept else torch.zeros(0, 5))
    return results


def evaluate(model, data):
    model.eval()
    found = made = wanted = 0
    for boxes, (_, truth) in zip(detect(model, torch.stack([image for image, _ in data])), data):
        free = torch.ones(len(truth), dtype=torch.bool)
        for box in boxes:
            iou = paired_iou(truth, box[None, :4].expand(len(truth), 4)) * free
            if iou.max() > 0.5:
                found, free[iou.argmax()] = found + 1, False
        made, wanted = made + len(boxes), wanted + len(truth)
    return found / wanted, found / max(made, 1)


if __name__ == "__main__":
    torch.manual_seed(0)
    rng = np.random.default_rng(60)
    train, val = [make_slice(rng) for _ in range(400)], [make_slice(rng) for _ in range(80)]
    model = Detector(yaml.safe_load(MODEL_YAML))
    optimizer = torch.optim.Adam(model.parameters(), lr=HYP["lr"])
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, HYP["lr"], total_steps=HYP["epochs"] * (len(train) // HYP["batch"]))
    for epoch in range(HYP["epochs"]):
        model.train()
        losses = []
        for chosen in torch.randperm(len(train)).split(HYP["batch"]):
            targets = torch.cat([F.pad(train[i][1], (1, 0), value=float(k)) for k, i in enumerate(chosen.tolist())])
            loss = detection_loss(model, model(torch.stack([train[i][0] for i in chosen.tolist()])), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        if (epoch + 1) % 2 == 0:
            recall, precision = evaluate(model, val)
            print(f"epoch {epoch + 1} loss {np.mean(losses):.4f} val recall {recall:.4f} precision {precision:.4f}")
