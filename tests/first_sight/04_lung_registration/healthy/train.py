"""Unsupervised 2-D registration of breathing phantoms, flow refined in a few steps."""
import torch
import torch.nn as nn
import torch.nn.functional as F

SIZE, STEPS = 48, 3


def pairs(n, gen):
    """Moving and fixed images with a lung-shaped label each."""
    axis = torch.linspace(-1, 1, SIZE)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")

    def draw(cy, cx, ry, rx, phase):
        lung = (((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2 < 1).float()
        vessels = 0.25 * torch.sin(9 * (yy - cy) / ry + phase) * torch.sin(7 * (xx - cx) / rx)
        return 0.8 - lung * (0.6 - vessels), lung

    image, label = [], []
    for _ in range(n):
        u = torch.rand(10, generator=gen)
        a = draw(0.3 * u[0] - 0.15, 0.3 * u[1] - 0.15, 0.45 + 0.25 * u[2], 0.3 + 0.2 * u[3], 3 * u[8])
        b = draw(0.3 * u[4] - 0.15, 0.3 * u[5] - 0.15, 0.45 + 0.25 * u[6], 0.3 + 0.2 * u[7], 3 * u[8])
        image.append(torch.stack([a[0], b[0]]))
        label.append(torch.stack([a[1], b[1]]))
    image = F.avg_pool2d(torch.stack(image), 3, 1, 1, count_include_pad=False)
    return image + 0.02 * torch.randn(image.shape, generator=gen), torch.stack(label)


class Warp(nn.Module):
    """Samples src at x + flow(x), everything in voxels."""

    def __init__(self, size):
        super().__init__()
        ax = torch.arange(size, dtype=torch.float32)
        self.register_buffer("grid", torch.stack(torch.meshgrid(ax, ax, indexing="ij"))[None].flip(1))

    def forward(self, src, flow):
        where = 2 * (self.grid + flow) / (src.shape[-1] - 1) - 1
        return F.grid_sample(src, where.movedim(1, -1), align_corners=True, padding_mode="border")


class FlowStep(nn.Module):
    """Residual flow from the images as they stand."""

    def __init__(self, ch=16):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(2, ch, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(ch, 2 * ch, 3, 2, 1), nn.LeakyReLU(0.2),
                                  nn.Conv2d(2 * ch, 2 * ch, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(2 * ch, 2 * ch, 3, 1, 1), nn.LeakyReLU(0.2))
        self.up = nn.Sequential(nn.Conv2d(4 * ch, ch, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(ch, 2, 3, 1, 1))
        nn.init.normal_(self.up[-1].weight, 0, 1e-3)
        nn.init.zeros_(self.up[-1].bias)

    def forward(self, x):
        mid = self.down[:4](x)
        deep = self.down[4:](mid)
        v = self.up(torch.cat([mid, F.interpolate(deep, size=mid.shape[-2:], mode="bilinear", align_corners=True)], 1))
        return F.interpolate(v, size=x.shape[-2:], mode="bilinear", align_corners=True)


class StepwiseNet(nn.Module):
    def __init__(self, size, steps):
        super().__init__()
        self.steps, self.warp, self.step = steps, Warp(size), FlowStep()

    def forward(self, moving, fixed):
        total = torch.zeros(len(moving), 2, *moving.shape[-2:])
        moved = moving
        for _ in range(self.steps):
            flow = self.step(torch.cat([moved, fixed], 1))
            total = flow + self.warp(total, flow)
            moved = self.warp(moving, total)
        return moved, total


def smoothness(flow):
    return (flow.diff(dim=2) ** 2).mean() + (flow.diff(dim=3) ** 2).mean()


def dice(a, b):
    return (2 * (a * b).sum((1, 2, 3)) / (a.sum((1, 2, 3)) + b.sum((1, 2, 3)))).mean()


@torch.no_grad()
def validate(model, image, label):
    moved, flow = model(image[:, :1], image[:, 1:])
    seg = model.warp(label[:, :1], flow)
    dy, dx = flow.diff(dim=2)[..., :-1], flow.diff(dim=3)[:, :, :-1]
    jacobian = (1 + dx[:, 0]) * (1 + dy[:, 1]) - dx[:, 1] * dy[:, 0]
    return dice(seg, label[:, 1:]).item(), F.mse_loss(moved, image[:, 1:]).item(), (jacobian <= 0).float().mean().item()


def main():
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(1)
    image, label = pairs(240, gen)
    val_image, val_label = pairs(40, gen)
    print(f"before registration: dice {dice(val_label[:, :1], val_label[:, 1:]):.3f} mse {F.mse_loss(val_image[:, 0], val_image[:, 1]):.4f}")
    model = StepwiseNet(SIZE, STEPS)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for epoch in range(14):
        total = 0.0
        for pick in torch.randperm(len(image)).split(12):
            moving, fixed = image[pick, :1], image[pick, 1:]
            moved, flow = model(moving, fixed)
            loss = F.mse_loss(moved, fixed) + 0.01 * smoothness(flow)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(pick) / len(image)
        d, m, fold = validate(model, val_image, val_label)
        print(f"epoch {epoch} loss {total:.5f} val_dice {d:.3f} val_mse {m:.5f} folding {fold:.4f}")


if __name__ == "__main__":
    main()
