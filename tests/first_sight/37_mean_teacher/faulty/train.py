"""Mean teacher for nuclei types: 100 labelled crops, 1200 without labels."""
import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def nuclei(n, seed):
    g = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, 28)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    kind = torch.randint(0, 4, (n,), generator=g)
    u = torch.rand(6, n, 1, 1, generator=g)
    a = 6.3 * u[0]
    p, q = yy * a.cos() + xx * a.sin(), xx * a.cos() - yy * a.sin()
    long = torch.where(kind.view(-1, 1, 1) % 2 == 1, 1.45 + 0.4 * u[1], 1.0 + 0.15 * u[1])
    d = torch.sqrt((p * long) ** 2 + (q / long ** 0.5) ** 2)
    img = torch.sigmoid((0.55 + 0.12 * u[2] - d) * 14) * (0.5 + 0.3 * u[3])
    spots = F.avg_pool2d((torch.rand(n, 1, 28, 28, generator=g) > 0.93).float(), 3, 1, 1)[:, 0] * 2.2
    img = img - (kind.view(-1, 1, 1) >= 2) * spots * (d < 0.5)
    img = img + 0.25 * u[4] * torch.sin(4 * xx + 6.3 * u[5]) + 0.07 * torch.randn(n, 28, 28, generator=g)
    return img.unsqueeze(1) - 0.2, kind


def jitter(x, strength):
    n = len(x)
    a = torch.randn(n) * strength * 1.5
    s = 1 + 0.15 * strength * torch.randn(n)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1], theta[:, 1, 0], theta[:, 1, 1] = a.cos() * s, -a.sin() * s, a.sin() * s, a.cos() * s
    x = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), padding_mode="border", align_corners=False)
    x = x * (1 + 0.4 * strength * torch.randn(n, 1, 1, 1)) + 0.2 * strength * torch.randn(n, 1, 1, 1)
    flip = torch.rand(n, 1, 1, 1) < 0.5
    return torch.where(flip, x.flip(3), x) + 0.03 * strength * torch.randn_like(x)


class Net(nn.Module):
    def __init__(self, ch=12):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, ch, 3, padding=1), nn.BatchNorm2d(ch), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(ch, 2 * ch, 3, padding=1), nn.BatchNorm2d(2 * ch), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * ch, 2 * ch, 3, padding=1), nn.BatchNorm2d(2 * ch), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(2 * ch, 4)

    def forward(self, x):
        return self.head(self.features(x))


class EMA:
    """Moving average of a network with a warm-up."""

    def __init__(self, net, decay):
        self.net, self.decay, self.step = copy.deepcopy(net).requires_grad_(False), decay, 0

    def get_decay(self):
        return 1 - min(self.decay, (1 + self.step) / (10 + self.step))

    @torch.no_grad()
    def update(self, net):
        self.decay = self.get_decay()
        for t, s in zip(self.net.state_dict().values(), net.state_dict().values()):
            if t.is_floating_point():
                t.sub_(self.decay * (t - s))
            else:
                t.copy_(s)
        self.step += 1


class MeanTeacher:
    def __init__(self, lr=8e-3, decay=0.98, weight=4.0, warm_up=200):
        self.model = Net()
        self.teacher = EMA(self.model, decay)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr, weight_decay=1e-3)
        self.weight, self.warm_up, self.step = weight, warm_up, 0

    def train_step(self, x_lb, y_lb, x_weak, x_strong):
        self.model.train()
        self.teacher.net.train()
        with torch.no_grad():
            target = self.teacher.net(x_weak).softmax(1)
        logits, unlabelled = self.model(torch.cat([x_lb, x_strong])).split([len(x_lb), len(x_strong)])
        sup = F.cross_entropy(logits, y_lb)
        unsup = F.mse_loss(unlabelled.softmax(1), target)
        ramp = math.exp(-5 * (1 - min(1.0, self.step / self.warm_up)) ** 2)
        loss = sup + self.weight * ramp * unsup
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        self.step += 1
        self.teacher.update(self.model)
        return {"sup": sup.item(), "unsup": unsup.item(), "total": loss.item()}

    @torch.no_grad()
    def accuracy(self, x, y):
        result = []
        for net in (self.teacher.net, self.model):
            net.eval()
            result.append((net(x).argmax(1) == y).float().mean().item())
        return result


def main():
    torch.manual_seed(0)
    (x_lb, y_lb), (x_ulb, _), (x_val, y_val) = nuclei(100, 0), nuclei(1200, 1), nuclei(400, 2)
    algorithm = MeanTeacher()
    teachers = []
    for it in range(1, 421):
        lb, ulb = torch.randint(0, len(x_lb), (12,)), torch.randint(0, len(x_ulb), (24,))
        log = algorithm.train_step(jitter(x_lb[lb], 0.6), y_lb[lb], jitter(x_ulb[ulb], 0.3), jitter(x_ulb[ulb], 0.8))
        if it % 30 == 0:
            teacher, student = algorithm.accuracy(x_val, y_val)
            teachers.append(teacher)
            print(f"iter {it} train_loss {log['total']:.4f} sup {log['sup']:.4f} unsup {log['unsup']:.5f} val_acc {teacher:.4f} student {student:.4f}")
    print(f"last five: val_acc {sum(teachers[-5:]) / 5:.4f} lowest {min(teachers[-5:]):.4f}")


if __name__ == "__main__":
    main()
