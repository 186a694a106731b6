"""Single-lesion detector: predicts one box per radiograph, smooth L1 + GIoU."""
import torch
import torch.nn as nn
import torch.nn.functional as F


def box_area(b):
    return (b[:, 2] - b[:, 0]).clamp(min=0) * (b[:, 3] - b[:, 1]).clamp(min=0)


def giou_loss(pred, gt):
    lt = torch.max(pred[:, :2], gt[:, :2])
    rb = torch.min(pred[:, 2:], gt[:, 2:])
    wh = (rb - lt).clamp(min=0)
    inter = wh[:, 0] * wh[:, 1]
    union = box_area(pred) + box_area(gt) - inter
    iou = inter / (union + 1e-6)
    lt_c = torch.min(pred[:, :2], gt[:, :2])
    rb_c = torch.max(pred[:, 2:], gt[:, 2:])
    wh_c = (rb_c - lt_c).clamp(min=0)
    hull = wh_c[:, 0] * wh_c[:, 1] + 1e-6
    return (1 - iou + (hull - union) / hull).mean()


class BoxNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        )
        self.fc = nn.Linear(32 * 64, 4)

    def forward(self, x):
        cxcywh = torch.sigmoid(self.fc(self.trunk(x).flatten(1)))
        c, s = cxcywh[:, :2], cxcywh[:, 2:]
        return torch.cat([c - s / 2, c + s / 2], dim=1)


def scene(n, gen):
    x = torch.randn(n, 1, 32, 32, generator=gen) * 0.3
    boxes = torch.zeros(n, 4)
    for i in range(n):
        x0, y0 = torch.randint(2, 16, (2,), generator=gen).tolist()
        w, h = torch.randint(6, 14, (2,), generator=gen).tolist()
        x[i, 0, y0:y0 + h, x0:x0 + w] += 1
        boxes[i] = torch.tensor([x0, y0, x0 + w, y0 + h]) / 32
    return x, boxes


def main(steps=90):
    torch.manual_seed(2)
    gen = torch.Generator().manual_seed(2)
    model = BoxNet()
    optim = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        x, gt = scene(16, gen)
        pred = model(x)
        loss_box = F.smooth_l1_loss(pred, gt, beta=0.1)
        loss_iou = giou_loss(pred, gt)
        loss = 2.0 * loss_box + loss_iou
        optim.zero_grad()
        loss.backward()
        optim.step()
        if step % 30 == 29:
            model.eval()
            with torch.no_grad():
                xv, gv = scene(32, gen)
                v = giou_loss(model(xv), gv).item()
            model.train()
            print(f"{step + 1:4d} loss {loss.item():.4f} box {loss_box.item():.4f} val giou {v:.4f}")


main()
