"""Good or bad pose of a ligand in its pocket, from a grid of atom densities, trained with Ignite."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.metrics import Accuracy, Loss
from torch.utils.data import DataLoader, TensorDataset

GRID = 12


def density(atoms, radius):
    """Sum of Gaussians at atoms (N, 3) on a GRID^3 lattice of one unit."""
    axis = np.arange(GRID) - (GRID - 1) / 2
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    return sum(np.exp(-((lattice - a) ** 2).sum(-1) / radius**2) for a in atoms)


def rotation(rng):
    q, r = np.linalg.qr(rng.normal(0, 1, (3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def make_pose(good, rng):
    """Channels: pocket wall, ligand. A good pose lies in the pocket and touches it, a bad one is turned and moved."""
    opening = rotation(rng)
    angles = rng.uniform(0, 2 * np.pi, 14)
    wall = np.stack([3.4 * np.cos(angles), 3.4 * np.sin(angles), rng.uniform(-2.5, 2.5, 14)], 1)
    ligand = np.stack([rng.normal(0, 0.5, 5), rng.normal(0, 0.5, 5), np.linspace(-2.2, 2.2, 5)], 1)
    if not good:
        ligand = ligand @ rotation(rng).T + rng.normal(0, 1.0, 3)
    noise = rng.normal(0, 0.1, (2, GRID, GRID, GRID))
    return np.stack([density(wall @ opening.T, 1.0), density(ligand @ opening.T, 1.0)]) + noise


def make_set(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    grids = np.stack([make_pose(good, rng) for good in labels])
    return TensorDataset(torch.from_numpy(grids).float(), torch.from_numpy(labels))


class PoseNet(nn.Module):
    def __init__(self, ch=10):
        super().__init__()

        def block(cin, cout):
            return [nn.Conv3d(cin, cout, 3, padding=1), nn.BatchNorm3d(cout), nn.ReLU(), nn.MaxPool3d(2)]

        self.body = nn.Sequential(*block(2, ch), *block(ch, 2 * ch), nn.Flatten(), nn.Dropout(0.2))
        self.pose = nn.Linear(2 * ch * 27, 2)

    def forward(self, grid):
        return self.pose(self.body(grid))


def training(args):
    torch.manual_seed(args.seed)
    train_loader = DataLoader(make_set(900, 1), args.batch_size, shuffle=True)
    test_loader = DataLoader(make_set(300, 2), 100)
    model = PoseNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.base_lr, momentum=0.9, weight_decay=0.001)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="min", factor=args.lr_reduce, patience=args.lr_patience, min_lr=args.lr_min
    )

    def step(engine, batch):
        model.train()
        grid, label = batch
        loss = F.cross_entropy(model(grid), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    trainer = Engine(step)
    metrics = {"loss": Loss(F.cross_entropy), "accuracy": Accuracy()}
    evaluator = create_supervised_evaluator(model, metrics)

    @trainer.on(Events.EPOCH_COMPLETED)
    def check(engine):
        evaluator.run(test_loader)
        found = evaluator.state.metrics
        lr = optimizer.param_groups[0]["lr"]
        scheduler.step(found["loss"])
        if engine.state.epoch % 2 == 0:
            print(f"epoch {engine.state.epoch:2d} lr {lr:.2e} train loss {engine.state.output:.3f} test loss {found['loss']:.4f} test accuracy {found['accuracy']:.3f}")

    trainer.run(train_loader, max_epochs=args.epochs)
    torch.save(model.state_dict(), "pose.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch_size", type=int, default=24)
    parser.add_argument("--base_lr", type=float, default=0.001)
    parser.add_argument("--lr_reduce", type=float, default=0.1)
    parser.add_argument("--lr_patience", type=int, default=2)
    parser.add_argument("--lr_min", type=float, default=1e-6)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    training(parser.parse_args())
