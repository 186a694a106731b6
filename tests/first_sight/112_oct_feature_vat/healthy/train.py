"""Semi-supervised classification of OCT B-scans (normal, drusen, fluid) with adversarial perturbations of features."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

CLASSES = ("normal", "drusen", "fluid")


def b_scans(count, seed, size=32):
    """Layered retina on a dark background; drusen lift the lowest layer, fluid leaves dark pockets inside."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    images, labels = np.empty((count, 1, size, size), np.float32), rng.integers(0, 3, count)
    for i, label in enumerate(labels):
        top = rng.uniform(8, 12) + rng.uniform(1, 3) * np.cos((x - rng.uniform(10, 22)) / 8)
        thickness = rng.uniform(9, 12)
        floor = top + thickness
        if label == 1:
            for _ in range(rng.integers(1, 4)):
                floor = floor - rng.uniform(1.5, 3.5) * np.exp(-(((x - rng.uniform(3, size - 3)) / rng.uniform(1.5, 3.0)) ** 2))
        image = 0.45 * ((y > top) & (y < floor)) + 0.9 * ((y >= floor) & (y < floor + 2.5)) + 0.12 * (y >= floor + 2.5)
        image = image + 0.2 * ((y > top) & (y < top + 2))
        if label == 2:
            for _ in range(rng.integers(1, 3)):
                cx, cy = rng.uniform(5, size - 5), rng.uniform(3.5, 7)
                middle = top[0, int(cx)] + cy
                image[((x - cx) / rng.uniform(2, 4)) ** 2 + ((y - middle) / rng.uniform(1.2, 2.5)) ** 2 < 1] *= 0.25
        images[i, 0] = image * rng.gamma(8, 1 / 8, (size, size)) + rng.normal(0, 0.06, (size, size))
    return (images - 0.25) / 0.3, labels


class Scans(Dataset):
    """One augmented view of a scan and its label."""

    def __init__(self, images, labels, augment=False):
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels)
        self.augment = augment

    def __len__(self):
        return len(self.images)

    def view(self, image):
        if torch.rand(1) < 0.5:
            image = image.flip(-1)
        dy, dx = torch.randint(-2, 3, (2,)).tolist()
        image = torch.roll(image, (dy, dx), (1, 2))
        return image * (1 + 0.15 * torch.randn(1)) + 0.1 * torch.randn(1)

    def __getitem__(self, index):
        image = self.images[index]
        return (self.view(image) if self.augment else image), self.labels[index]


class TwoViews(Scans):
    """Two views of a scan whose label is not used."""

    def __getitem__(self, index):
        return self.view(self.images[index]), self.view(self.images[index])


class Network(nn.Module):
    def __init__(self, width=16, features=64):
        super().__init__()
        layers, channels = [], 1
        for out in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(channels, out, 3, 1, 1), nn.GroupNorm(4, out), nn.ReLU(), nn.MaxPool2d(2)]
            channels = out
        self.encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 16, features), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, len(CLASSES)))

    def forward(self, x):
        feature = self.encoder(x)
        return feature, self.classifier(feature)


def unit(d):
    return d / (d.norm(dim=1, keepdim=True) + 1e-12)


def divergence(logits, target):
    return F.kl_div(F.log_softmax(logits, 1), target, reduction="batchmean")


def adversarial_perturbations(classifier, feat_1, feat_2, prob_1, prob_2, xi, steps):
    """Directions in which the predictions of both views change most, by power iteration in feature space."""
    d_1, d_2 = unit(torch.randn_like(feat_1)), unit(torch.randn_like(feat_2))
    for _ in range(steps):
        d_1.requires_grad_(True)
        d_2.requires_grad_(True)
        moved_1 = feat_1.detach() + xi * d_1
        moved_2 = feat_2.detach() + xi * d_2
        change = divergence(classifier(moved_1), prob_1) + divergence(classifier(moved_2), prob_2)
        grad_1, grad_2 = torch.autograd.grad(change, (d_1, d_2))
        d_1, d_2 = unit(grad_1), unit(grad_2)
    return d_1, d_2


def unlabelled_loss(model, view_1, view_2, args):
    """Each view, perturbed in feature space, has to agree with the prediction of the other one."""
    feat_1, logits_1 = model(view_1)
    feat_2, logits_2 = model(view_2)
    prob_1, prob_2 = F.softmax(logits_1, 1).detach(), F.softmax(logits_2, 1).detach()
    r_1, r_2 = adversarial_perturbations(model.classifier, feat_1, feat_2, prob_1, prob_2, args.xi, args.power_steps)
    return divergence(model.classifier(feat_1 + args.eps * r_1), prob_2) + divergence(model.classifier(feat_2 + args.eps * r_2), prob_1)


@torch.no_grad()
def evaluate(model, loader, eps):
    """Accuracy, mean recall over the classes, and share of predictions that random perturbations of the features keep."""
    model.eval()
    hits, counts, kept = torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES)), 0
    for image, label in loader:
        feature, logits = model(image)
        prediction = logits.argmax(1)
        counts += torch.bincount(label, minlength=len(CLASSES))
        hits += torch.bincount(label[prediction == label], minlength=len(CLASSES))
        moved = model.classifier(feature + eps * unit(torch.randn_like(feature)))
        kept += (moved.argmax(1) == prediction).sum().item()
    return (hits.sum() / counts.sum()).item(), (hits / counts).mean().item(), kept / counts.sum().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--labelled", type=int, default=45)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--xi", type=float, default=1e-1)
    parser.add_argument("--eps", type=float, default=2.0)
    parser.add_argument("--power-steps", type=int, default=2)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    images, labels = b_scans(args.labelled + 960, 1)
    labelled = Scans(images[: args.labelled], labels[: args.labelled], augment=True)
    unlabelled = TwoViews(images[args.labelled :], labels[args.labelled :], augment=True)
    val_loader = DataLoader(Scans(*b_scans(400, 2)), batch_size=100)
    test_loader = DataLoader(Scans(*b_scans(600, 3)), batch_size=100)
    unlabelled_loader = DataLoader(unlabelled, batch_size=args.batch_size, shuffle=True, drop_last=True)
    sampler = torch.utils.data.RandomSampler(labelled, replacement=True, num_samples=len(unlabelled_loader) * 24)
    labelled_loader = DataLoader(labelled, batch_size=24, sampler=sampler)

    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    best, best_state = -1.0, None
    for epoch in range(args.epochs):
        model.train()
        ramp = args.weight * min(1.0, (epoch + 1) / 5)
        supervised, consistency = 0.0, 0.0
        for (image, label), (view_1, view_2) in zip(labelled_loader, unlabelled_loader):
            loss_x = F.cross_entropy(model(image)[1], label)
            loss_u = unlabelled_loss(model, view_1, view_2, args)
            optimizer.zero_grad()
            (loss_x + ramp * loss_u).backward()
            optimizer.step()
            supervised += loss_x.item() / len(unlabelled_loader)
            consistency += loss_u.item() / len(unlabelled_loader)
        scheduler.step()
        accuracy, recall, kept = evaluate(model, val_loader, args.eps)
        if accuracy > best:
            best, best_state = accuracy, {name: value.clone() for name, value in model.state_dict().items()}
        print(f"epoch {epoch + 1:2d} labelled {supervised:.4f} unlabelled {consistency:.4f} val accuracy {accuracy:.4f} recall {recall:.4f} kept {kept:.4f}")
    model.load_state_dict(best_state)
    accuracy, recall, kept = evaluate(model, test_loader, args.eps)
    print(f"final: test accuracy {accuracy:.4f} mean recall {recall:.4f} kept under perturbation {kept:.4f}")


if __name__ == "__main__":
    main()
