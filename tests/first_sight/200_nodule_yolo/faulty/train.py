"""One-stage detector with two anchors for lung nodules in small chest X-ray patches."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

hyp = {"lr0": 2e-3, "lrf": 0.05, "weight_decay": 5e-4, "xy": 1.0, "wh": 1.0, "obj": 1.0, "obj_pos": 4.0}
ANCHORS = torch.tensor([[9.0, 9.0], [17.0, 17.0]])
STRIDE = 8


class NodulePatches(Dataset):
    """Patches with zero to three bright round opacities; labels are rows (cx, cy, w, h) in pixels."""

    def __init__(self, n, img_size, seed):
        rng = np.random.default_rng(seed)
        self.items = [self.make(rng, img_size) for _ in range(n)]

    @staticmethod
    def make(rng, s):
        y, x = np.mgrid[0:s, 0:s].astype(np.float32)
        img = 0.4 + 0.1 * np.sin(x / rng.uniform(7, 13) + rng.uniform(0, 6)) + 0.08 * np.sin(y / 5 + rng.uniform(0, 6))
        boxes = []
        for _ in range(rng.integers(0, 4)):
            w, h = rng.uniform(7, 22) * rng.uniform(0.85, 1.15, 2)
            cx, cy = rng.uniform(w / 2, s - w / 2), rng.uniform(h / 2, s - h / 2)
            if any(abs(cx - b[0]) < (w + b[2]) / 2 and abs(cy - b[1]) < (h + b[3]) / 2 for b in boxes):
                continue
            r = np.sqrt((2 * (x - cx) / w) ** 2 + (2 * (y - cy) / h) ** 2)
            img += rng.uniform(0.25, 0.45) / (1 + np.exp(10 * (r - 0.95)))
            boxes.append([cx, cy, w, h])
        img = (img + rng.normal(0, 0.05, img.shape) - 0.45) / 0.2
        return torch.tensor(img[None], dtype=torch.float32), torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]

    @staticmethod
    def collate_fn(batch):
        imgs, labels = zip(*batch)
        rows = [torch.cat([torch.full((len(l), 1), float(i)), l], 1) for i, l in enumerate(labels)]
        return torch.stack(imgs), torch.cat(rows)


def conv(cin, cout, s=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, s, 1, bias=False), nn.BatchNorm2d(cout), nn.SiLU())


class TinyYolo(nn.Module):
    def __init__(self, na=2):
        super().__init__()
        self.na = na
        self.body = nn.Sequential(conv(1, 12, 2), conv(12, 24, 2), conv(24, 40, 2), conv(40, 40), conv(40, 40))
        self.head = nn.Conv2d(40, na * 5, 1)
        with torch.no_grad():
            self.head.bias.view(na, 5)[:, 4] = -4.0

    def forward(self, x):
        p = self.head(self.body(x))
        b, _, ny, nx = p.shape
        p = p.view(b, self.na, 5, ny, nx).permute(0, 1, 3, 4, 2)
        return p if self.training else self.decode(p)

    def decode(self, p):
        ny, nx = p.shape[2:4]
        gy, gx = torch.meshgrid(torch.arange(ny), torch.arange(nx), indexing="ij")
        xy = (torch.sigmoid(p[..., 0:2]) + torch.stack([gx, gy], -1)) * STRIDE
        wh = torch.exp(p[..., 2:4]) * ANCHORS[:, None, None]
        return torch.cat([xy, wh, torch.sigmoid(p[..., 4:5])], -1).flatten(1, 3)


def build_targets(labels):
    """Anchor with the best shape for every label, its cell, and the offsets to regress."""
    b, (cx, cy), wh = labels[:, 0].long(), labels[:, 1:3].T / STRIDE, labels[:, 3:5]
    inter = torch.minimum(wh[:, None], ANCHORS[None]).prod(-1)
    a = (inter / (wh.prod(-1)[:, None] + ANCHORS.prod(-1)[None] - inter)).argmax(1)
    gi, gj = cx.long(), cy.long()
    return (b, a, gj, gi), torch.stack([cx - gi, cy - gj], 1), torch.log(wh / ANCHORS[a])


def compute_loss(p, labels):
    index, txy, twh = build_targets(labels)
    tobj = torch.zeros_like(p[..., 4])
    tobj[index] = 1.0
    ps = p[index]
    pxy, pwh = torch.sigmoid(ps[:, 0:4]).split(2, 1)
    lxy, lwh = F.mse_loss(pxy, txy), F.mse_loss(pwh, twh)
    lobj = F.binary_cross_entropy_with_logits(p[..., 4], tobj, pos_weight=torch.tensor(hyp["obj_pos"]))
    return hyp["xy"] * lxy + hyp["wh"] * lwh + hyp["obj"] * lobj, torch.stack([lxy, lwh, lobj]).detach()


def box_iou(a, b):
    lo = torch.maximum(a[:, None, :2] - a[:, None, 2:4] / 2, b[None, :, :2] - b[None, :, 2:4] / 2)
    hi = torch.minimum(a[:, None, :2] + a[:, None, 2:4] / 2, b[None, :, :2] + b[None, :, 2:4] / 2)
    inter = (hi - lo).clamp(min=0).prod(-1)
    return inter / (a[:, None, 2:4].prod(-1) + b[None, :, 2:4].prod(-1) - inter + 1e-9)


def non_max_suppression(det, conf_thres=0.05, iou_thres=0.45):
    det, keep = det[det[:, 4] > conf_thres], []
    det = det[det[:, 4].argsort(descending=True)]
    while len(det):
        keep.append(det[0])
        det = det[1:][box_iou(det[:1], det[1:])[0] < iou_thres]
    return torch.stack(keep) if keep else torch.zeros(0, 5)


@torch.no_grad()
def test(model, loader, iou_thres=0.5):
    model.eval()
    conf, hit, n_labels = [], [], 0
    for imgs, labels in loader:
        for i, det in enumerate(model(imgs)):
            det, truth = non_max_suppression(det), labels[labels[:, 0] == i, 1:]
            free, n_labels = torch.ones(len(truth)), n_labels + len(truth)
            for row in det:
                iou = box_iou(row[None], truth)[0] * free
                ok = len(truth) > 0 and bool(iou.max() >= iou_thres)
                if ok:
                    free[iou.argmax()] = 0
                conf.append(row[4].item())
                hit.append(float(ok))
    tp = torch.tensor(hit)[torch.tensor(conf).argsort(descending=True)] if hit else torch.zeros(1)
    recall, precision = tp.cumsum(0) / n_labels, tp.cumsum(0) / torch.arange(1, len(tp) + 1)
    precision = precision.flip(0).cummax(0)[0].flip(0)
    return (precision * torch.diff(recall, prepend=torch.zeros(1))).sum().item(), recall[-1].item()


def train(opt):
    torch.manual_seed(opt.seed)
    train_loader = DataLoader(NodulePatches(320, opt.img_size, 1), opt.batch_size, shuffle=True, collate_fn=NodulePatches.collate_fn)
    val_loader = DataLoader(NodulePatches(100, opt.img_size, 2), 50, collate_fn=NodulePatches.collate_fn)
    model = TinyYolo()
    optimizer = torch.optim.AdamW(model.parameters(), lr=hyp["lr0"], weight_decay=hyp["weight_decay"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, opt.epochs * len(train_loader), hyp["lr0"] * hyp["lrf"])
    for epoch in range(opt.epochs):
        model.train()
        mloss = torch.zeros(3)
        for imgs, labels in train_loader:
            loss, parts = compute_loss(model(imgs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            mloss += parts / len(train_loader)
        ap, recall = test(model, val_loader)
        print("%3d/%d  xy %.4f  wh %.4f  obj %.4f  mAP@0.5 %.3f  R %.3f" % (epoch + 1, opt.epochs, *mloss, ap, recall))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--img-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())
