#!/usr/bin/env python
"""Grading of prostate histology patches (four growth patterns) with a plain deep convolutional network."""
import argparse
import math

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def get_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=8, help="number of convolutions")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--activation", choices=sorted(ACTIVATIONS), default="relu")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--train-patches", type=int, default=512)
    parser.add_argument("--val-patches", type=int, default=160)
    parser.add_argument("--seed", type=int, default=13)
    return parser.parse_args()


def gland(x, y, cx, cy, radius, wall):
    distance = np.hypot(x - cx, y - cy)
    return np.abs(distance - radius) < wall


def patches(count, rng, size=32):
    """0: few large glands, 1: many small glands, 2: fused glands in cords, 3: scattered single cells."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    images, grades = np.zeros((count, 1, size, size), np.float32), rng.integers(0, 4, count)
    for k, grade in enumerate(grades):
        dark = np.zeros((size, size), bool)
        if grade == 0:
            for _ in range(3):
                dark |= gland(x, y, *rng.uniform(4, size - 4, 2), rng.uniform(5, 8), 1.0)
        elif grade == 1:
            for _ in range(9):
                dark |= gland(x, y, *rng.uniform(2, size - 2, 2), rng.uniform(2, 3.5), 0.9)
        elif grade == 2:
            angle, pitch = rng.uniform(0, math.pi), rng.uniform(5, 8)
            dark = np.sin(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / pitch + np.sin(x / 5)) > 0.6
        else:
            for _ in range(45):
                cx, cy = rng.uniform(0, size, 2)
                dark |= np.hypot(x - cx, y - cy) < 1.2
        image = 0.75 - rng.uniform(0.15, 0.35) * dark + rng.normal(0, 0.08, (size, size))
        images[k, 0] = (image - 0.7) / 0.15
    return TensorDataset(torch.from_numpy(images), torch.from_numpy(grades))


def make_network(depth, width, activation, classes=4):
    layers, channels = [], 1
    for level in range(depth):
        layers += [nn.Conv2d(channels, width, 3, padding=1), ACTIVATIONS[activation]()]
        channels = width
        if level % 2 == 1 and level < depth - 1:
            layers.append(nn.MaxPool2d(2))
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return network


def run_epoch(network, loader, criterion, optimizer=None):
    network.train(optimizer is not None)
    total, right = 0.0, 0
    with torch.set_grad_enabled(optimizer is not None):
        for image, grade in loader:
            logits = network(image)
            loss = criterion(logits, grade)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total += loss.item() * len(grade)
            right += (logits.argmax(1) == grade).sum().item()
    return total / len(loader.dataset), right / len(loader.dataset)


def main():
    args = get_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    train = DataLoader(patches(args.train_patches, rng), args.batch_size, shuffle=True)
    val = DataLoader(patches(args.val_patches, rng), 80)
    network = make_network(args.depth, args.width, args.activation)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(network.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        loss, accuracy = run_epoch(network, train, criterion, optimizer)
        val_loss, val_accuracy = run_epoch(network, val, criterion)
        print(f"[{epoch + 1:2d}/{args.epochs}] loss {loss:.4f} acc {accuracy:.3f} | val loss {val_loss:.4f} acc {val_accuracy:.3f}")


if __name__ == "__main__":
    main()
