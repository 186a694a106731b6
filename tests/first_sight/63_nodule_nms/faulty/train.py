"""Lung nodules in CT slices: one stage, no anchors; each cell tells a score and the distances to the four sides."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from boxes import average_precision, non_max_suppression

SIZE, STRIDE = 64, 4


def make_slice(seed):
    """A slice with three to six nodules that do not touch, and vessels that look like them when cut across."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:SIZE, :SIZE]
    image = rng.normal(0, 0.12, (SIZE, SIZE))
    for _ in range(4):
        x, y, angle = rng.uniform(8, 56), rng.uniform(8, 56), rng.uniform(0, np.pi)
        across = np.abs((xx - x) * np.sin(angle) - (yy - y) * np.cos(angle))
        along = np.abs((xx - x) * np.cos(angle) + (yy - y) * np.sin(angle))
        image[(across < 1.0) & (along < 11)] += 0.6
    boxes = []
    for _ in range(60):
        r = rng.uniform(3.0, 5.5)
        x, y = rng.uniform(r + 1, SIZE - r - 1, 2)
        if all(np.hypot(x - (b[0] + b[2]) / 2, y - (b[1] + b[3]) / 2) > r + (b[2] - b[0]) / 2 + 3 for b in boxes):
            image[(xx - x) ** 2 + (yy - y) ** 2 < r * r] += rng.uniform(0.35, 0.8)
            boxes.append([x - r, y - r, x + r, y + r])
        if len(boxes) == 3 + seed % 4:
            break
    return image.astype(np.float32), np.array(boxes, np.float32)


class Slices(Dataset):
    """Image, and for the grid: 1 where the centre of a cell lies in the middle of a nodule, and its four distances."""

    def __init__(self, count, seed):
        self.items = [make_slice(seed + i) for i in range(count)]
        centre = (np.arange(SIZE // STRIDE) + 0.5) * STRIDE
        self.cx, self.cy = np.meshgrid(centre, centre)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        image, boxes = self.items[i]
        score = np.zeros(self.cx.shape, np.float32)
        sides = np.zeros((4, *self.cx.shape), np.float32)
        for x1, y1, x2, y2 in boxes:
            middle = np.hypot(self.cx - (x1 + x2) / 2, self.cy - (y1 + y2) / 2) < max(0.6 * (x2 - x1) / 2, 2.9)
            score[middle] = 1
            for k, side in enumerate((self.cx - x1, self.cy - y1, x2 - self.cx, y2 - self.cy)):
                sides[k][middle] = np.clip(side[middle], 0.1, None)
        return torch.from_numpy(image)[None], torch.from_numpy(score), torch.from_numpy(sides)


class Detector(nn.Module):
    def __init__(self, ch=16):
        super().__init__()

        def block(cin, cout, stride=1):
            return [nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]

        self.body = nn.Sequential(*block(1, ch), *block(ch, 2 * ch, 2), *block(2 * ch, 2 * ch), *block(2 * ch, 3 * ch, 2), *block(3 * ch, 3 * ch))
        self.score = nn.Conv2d(3 * ch, 1, 1)
        self.sides = nn.Conv2d(3 * ch, 4, 1)
        nn.init.constant_(self.score.bias, -2.0)

    def forward(self, image):
        h = self.body(image)
        return self.score(h)[:, 0], F.softplus(self.sides(h)) * STRIDE


@torch.no_grad()
def evaluate(model, dataset):
    model.eval()
    results = []
    for i, (image, _, _) in enumerate(dataset):
        logit, sides = model(image[None])
        score, (left, top, right, bottom) = logit[0].sigmoid().numpy(), sides[0].numpy()
        boxes = np.stack([dataset.cx - left, dataset.cy - top, dataset.cx + right, dataset.cy + bottom], -1)
        chosen = score > 0.1
        boxes, score = boxes[chosen], score[chosen]
        keep = non_max_suppression(boxes, score)
        results.append((boxes[keep], score[keep], dataset.items[i][1]))
    return average_precision(results)


def main():
    torch.manual_seed(0)
    train, val = Slices(240, 0), Slices(60, 9000)
    loader = DataLoader(train, batch_size=16, shuffle=True)
    model = Detector()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    epochs = 9
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * len(loader))
    for epoch in range(1, epochs + 1):
        model.train()
        total = 0.0
        for image, score, sides in loader:
            logit, predicted = model(image)
            inside = score > 0
            off = F.smooth_l1_loss(predicted.permute(0, 2, 3, 1)[inside], sides.permute(0, 2, 3, 1)[inside])
            loss = F.binary_cross_entropy_with_logits(logit, score) + 0.2 * off
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        if epoch % 3 == 0:
            ap, recall = evaluate(model, val)
            print(f"epoch {epoch:2d} loss {total / len(loader):.4f} val AP50 {ap:.3f} recall {recall:.3f}")
    torch.save(model.state_dict(), "nodules.pt")


if __name__ == "__main__":
    main()
