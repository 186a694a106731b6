"""Liver, vessels and lesions in MR with labels in CT only.

Stage 1 trains a teacher on labelled CT with intensity augmentation; stage 2 distils it into a student on
unlabelled MR. python train.py --distillation 1.0
"""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

SIZE, CLASSES = 48, 4


def anatomy(rng):
    """Labels: 0 background, 1 liver, 2 vessels, 3 lesions."""
    yy, xx = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    label = np.zeros((SIZE, SIZE), int)
    cy, cx = rng.normal(0, 2, 2)
    wave = 1 + 0.1 * np.cos(2 * np.arctan2(yy - cy, xx - cx) + rng.uniform(0, 6))
    liver = ((yy - cy) / 15) ** 2 + ((xx - cx) / 18) ** 2 < wave
    label[liver] = 1
    for _ in range(3):
        angle, off = rng.uniform(0, np.pi), rng.uniform(-7, 7)
        line = np.abs((xx - cx) * np.sin(angle) - (yy - cy) * np.cos(angle) - off)
        label[liver & (line < 1.1)] = 2
    for _ in range(rng.integers(2, 4)):
        y, x, r = cy + rng.uniform(-8, 8), cx + rng.uniform(-10, 10), rng.uniform(2.3, 3.5)
        label[liver & ((yy - y) ** 2 + (xx - x) ** 2 < r * r)] = 3
    return label


def scan(label, modality, rng):
    values = {"ct": [0.2, 0.5, 0.75, 0.36], "mr": [0.27, 0.52, 0.72, 0.4]}[modality]
    values = np.array(values) + rng.normal(0, 0.012, CLASSES)
    image = gaussian_filter(values[label], 0.6 if modality == "ct" else 0.8)
    if modality == "mr":
        image = image * (1 + 0.12 * gaussian_filter(rng.normal(0, 1, label.shape), 12) * 20)
    return image + rng.normal(0, 0.035, label.shape)


def make_set(n, modality, seed):
    rng = np.random.default_rng(seed)
    labels = [anatomy(rng) for _ in range(n)]
    images = np.stack([scan(label, modality, rng) for label in labels])
    images = (images - images.mean((1, 2), keepdims=True)) / images.std((1, 2), keepdims=True)
    return torch.from_numpy(images).float()[:, None], torch.from_numpy(np.stack(labels))


class SegNet(nn.Module):
    def __init__(self, ch):
        super().__init__()

        def block(cin, cout):
            return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(), nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())

        self.enter, self.deep, self.leave = block(1, ch), block(ch, 2 * ch), block(3 * ch, ch)
        self.classifier = nn.Conv2d(ch, CLASSES, 1)

    def forward(self, x):
        a = self.enter(x)
        b = F.interpolate(self.deep(F.max_pool2d(a, 2)), scale_factor=2, mode="bilinear", align_corners=False)
        return self.classifier(self.leave(torch.cat([a, b], 1)))


def jitter(x):
    """Random contrast, bias and noise."""
    gain = torch.empty(len(x), 1, 1, 1).uniform_(0.75, 1.3)
    shift = 0.2 * torch.randn(len(x), 1, 1, 1)
    return gain * x + shift + 0.1 * torch.randn_like(x)


@torch.no_grad()
def evaluate(net, images, labels):
    """Dice of liver, vessels and lesions over all validation pixels, and the negative log likelihood."""
    net.eval()
    logits = torch.cat([net(part) for part in images.split(20)])
    guess = logits.argmax(1)
    dice = [2 * ((guess == k) & (labels == k)).sum() / ((guess == k).sum() + (labels == k).sum()).clamp(min=1) for k in (1, 2, 3)]
    return [d.item() for d in dice], F.cross_entropy(logits, labels).item()


def report(name, net, images, labels):
    dice, nll = evaluate(net, images, labels)
    print(f"{name} MR val Dice liver {dice[0]:.3f} vessels {dice[1]:.3f} lesions {dice[2]:.3f} mean {np.mean(dice):.3f} nll {nll:.3f}")


def train_teacher(opt):
    images, labels = make_set(144, "ct", 1)
    teacher = SegNet(16)
    optimizer = torch.optim.Adam(teacher.parameters(), 3e-3)
    for _ in range(opt.teacher_epochs):
        teacher.train()
        for index in torch.randperm(len(images)).split(opt.batch):
            loss = F.cross_entropy(teacher(jitter(images[index])), labels[index], weight=torch.tensor([1.0, 1.0, 2.0, 3.0]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return teacher.eval()


def distillation_loss(student_out, teacher_out):
    """Divergence of the student from the teacher, averaged over pixels."""
    student = F.log_softmax(student_out, dim=1)
    teacher = F.softmax(teacher_out, dim=1)
    return F.kl_div(student, teacher, reduction="none").sum(1).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--teacher_epochs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--distillation", type=float, default=1.0)
    opt = parser.parse_args()
    torch.manual_seed(0)
    val_images, val_labels = make_set(40, "mr", 3)
    teacher = train_teacher(opt)
    report("teacher", teacher, val_images, val_labels)
    images, _ = make_set(144, "mr", 2)
    student = SegNet(16)
    optimizer = torch.optim.Adam(student.parameters(), 5e-3)
    for epoch in range(1, opt.epochs + 1):
        student.train()
        total = 0.0
        for index in torch.randperm(len(images)).split(opt.batch):
            with torch.no_grad():
                teacher_out = teacher(images[index])
            loss = opt.distillation * distillation_loss(student(jitter(images[index])), teacher_out)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 2 == 0:
            report(f"epoch {epoch} loss {total / (len(images) // opt.batch):.4f} student", student, val_images, val_labels)
    torch.save(student.state_dict(), "student.pt")


if __name__ == "__main__":
    main()
