"""White matter lesions in FLAIR patches: a plain U-Net with SGD, Nesterov momentum and the polynomial rate, large batches by accumulation."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter


def flair_case(rng, size=32):
    tissue = gaussian_filter(rng.normal(size=(size, size)), 3)
    tissue = 0.5 + 0.1 * tissue / tissue.std() + rng.normal(0, 0.05, (size, size))
    yy, xx = np.mgrid[0:size, 0:size]
    seg = np.zeros((size, size), np.int64)
    for _ in range(rng.integers(1, 4)):
        cy, cx = rng.uniform(4, size - 4, 2)
        a, b = rng.uniform(1.8, 5.5, 2)
        t = rng.uniform(0, np.pi)
        u, v = np.cos(t) * (xx - cx) + np.sin(t) * (yy - cy), np.cos(t) * (yy - cy) - np.sin(t) * (xx - cx)
        inside = (u / a) ** 2 + (v / b) ** 2 < 1
        tissue += rng.uniform(0.18, 0.35) * gaussian_filter(inside.astype(float), 0.6)
        seg[inside] = 1
    for _ in range(rng.integers(0, 3)):
        cy, cx = rng.uniform(0, size, 2)
        tissue += 0.35 * np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / 1.5)
    return ((tissue - tissue.mean()) / tissue.std())[None].astype(np.float32), seg


class PatchSource:
    """Endless batches of random cases, mirrored at random, as in the usual batch generators."""

    def __init__(self, cases, batch_size, seed):
        self.cases, self.batch_size, self.rng = cases, batch_size, np.random.default_rng(seed)

    def __next__(self):
        data, target = [], []
        for i in self.rng.integers(0, len(self.cases), self.batch_size):
            image, seg = self.cases[i]
            for axis in (0, 1):
                if self.rng.random() < 0.5:
                    image, seg = np.flip(image, axis + 1), np.flip(seg, axis)
            data.append(image)
            target.append(seg)
        return torch.from_numpy(np.ascontiguousarray(np.stack(data))), torch.from_numpy(np.ascontiguousarray(np.stack(target)))


def stage(cin, cout, stride=1):
    layers = []
    for i in range(2):
        layers += [nn.Conv2d(cin if i == 0 else cout, cout, 3, stride if i == 0 else 1, 1), nn.InstanceNorm2d(cout, affine=True), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers)


class PlainUNet(nn.Module):
    def __init__(self, features=(8, 16, 24), classes=2):
        super().__init__()
        f0, f1, f2 = features
        self.enc0, self.enc1, self.enc2 = stage(1, f0), stage(f0, f1, 2), stage(f1, f2, 2)
        self.up1, self.up0 = nn.ConvTranspose2d(f2, f1, 2, 2), nn.ConvTranspose2d(f1, f0, 2, 2)
        self.dec1, self.dec0 = stage(2 * f1, f1), stage(2 * f0, f0)
        self.seg = nn.Conv2d(f0, classes, 1)

    def forward(self, x):
        a = self.enc0(x)
        b = self.enc1(a)
        c = self.dec1(torch.cat([self.up1(self.enc2(b)), b], 1))
        return self.seg(self.dec0(torch.cat([self.up0(c), a], 1)))


def dc_and_ce_loss(logits, target, smooth=1e-5):
    prob, fg = logits.softmax(1)[:, 1], (target == 1).float()
    dc = (2 * (prob * fg).sum() + smooth) / (prob.sum() + fg.sum() + smooth)
    return F.cross_entropy(logits, target) - dc


class Trainer:
    def __init__(self, seed=0):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        self.num_epochs, self.updates_per_epoch = 8, 10
        self.batch_size, self.accumulate = 2, 8
        self.initial_lr, self.momentum, self.weight_decay = 0.08, 0.9, 3e-5
        self.tr_gen = PatchSource([flair_case(rng) for _ in range(240)], self.batch_size, seed + 1)
        self.val_cases = [flair_case(rng) for _ in range(80)]
        self.network = PlainUNet()
        self.optimizer = torch.optim.SGD(self.network.parameters(), self.initial_lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=True)
        self.best_ema, self.ema = 0.0, None

    def maybe_update_lr(self, epoch):
        lr = self.initial_lr * (1 - epoch / self.num_epochs) ** 0.9
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def run_update(self):
        """One optimiser step from several small batches; gives the mean loss."""
        total = 0.0
        self.optimizer.zero_grad()
        for _ in range(self.accumulate):
            data, target = next(self.tr_gen)
            loss = dc_and_ce_loss(self.network(data), target)
            total += loss.item() / self.accumulate
            loss.backward()
        self.optimizer.step()
        return total

    @torch.no_grad()
    def validate(self):
        self.network.eval()
        tp = fp = fn = 0
        for k in range(0, len(self.val_cases), 20):
            data, target = (torch.from_numpy(np.stack(part)) for part in zip(*self.val_cases[k : k + 20]))
            guess, truth = self.network(data).argmax(1) == 1, target == 1
            tp, fp, fn = tp + (guess & truth).sum().item(), fp + (guess & ~truth).sum().item(), fn + (~guess & truth).sum().item()
        return 2 * tp / max(2 * tp + fp + fn, 1)

    def run_training(self):
        for epoch in range(self.num_epochs):
            lr = self.maybe_update_lr(epoch)
            self.network.train()
            losses = [self.run_update() for _ in range(self.updates_per_epoch)]
            dice = self.validate()
            self.ema = dice if self.ema is None else 0.9 * self.ema + 0.1 * dice
            self.best_ema = max(self.best_ema, self.ema)
            print(f"epoch {epoch} lr {lr:.4f} train_loss {np.mean(losses):.4f} pseudo dice {dice:.4f} ema {self.ema:.4f}")
        print(f"finished, {self.num_epochs * self.updates_per_epoch} updates of {self.batch_size * self.accumulate} patches, dice {dice:.4f}")


if __name__ == "__main__":
    Trainer().run_training()
