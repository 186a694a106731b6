"""Training in sessions: a session that is cut off is continued from its checkpoint."""
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from airways.data import Airways
from airways.network import PointNet


class EpochDecay:
    """Multiplies the learning rate at milestones (epochs that are done)."""

    def __init__(self, optimizer, lr, decay, milestones):
        self.optimizer, self.decay, self.milestones = optimizer, decay, set(milestones)
        self.epoch = 0
        self.set(lr)

    def set(self, lr):
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def step(self):
        self.epoch += 1
        if self.epoch in self.milestones:
            self.set(self.optimizer.param_groups[0]["lr"] * self.decay)

    def state_dict(self):
        return {"epoch": self.epoch}

    def load_state_dict(self, state):
        self.epoch = state["epoch"]


class Trainer:
    def __init__(self, cfg, checkpoint):
        self.cfg, self.checkpoint = cfg, checkpoint
        data, optim = cfg["data"], cfg["optim"]
        train = Airways(data["train"], data["points"], 0, augment=True)
        self.train_loader = DataLoader(train, cfg["training"]["batch_size"], shuffle=True, drop_last=True)
        self.val_loader = DataLoader(Airways(data["val"], data["points"], 50000), 20)
        self.model = PointNet(cfg["model"]["width"])
        self.optimizer = torch.optim.SGD(self.model.parameters(), optim["lr"], optim["momentum"], weight_decay=optim["weight_decay"])
        self.scheduler = EpochDecay(self.optimizer, optim["lr"], optim["decay"], optim["milestones"])
        state = torch.load(checkpoint) if checkpoint.exists() else None
        if state:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            print(f"continued after epoch {self.scheduler.epoch}")

    def save(self):
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "scheduler": self.scheduler.state_dict()}
        torch.save(state, self.checkpoint)

    def fit(self, until):
        """Train up to an epoch; the checkpoint is written after each."""
        while self.scheduler.epoch < until:
            self.model.train()
            total = 0.0
            for xyz, label in self.train_loader:
                loss = F.cross_entropy(self.model(xyz), label)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                total += loss.item()
            self.scheduler.step()
            self.save()
            if self.scheduler.epoch % 2 == 0:
                print(f"epoch {self.scheduler.epoch:2d} loss {total / len(self.train_loader):.4f} val mIoU {self.evaluate():.3f}")

    @torch.no_grad()
    def evaluate(self):
        """IoU of each part over all validation points, averaged over the parts."""
        self.model.eval()
        both, either = np.zeros(4), np.zeros(4)
        for xyz, label in self.val_loader:
            guess = self.model(xyz).argmax(1)
            for part in range(4):
                both[part] += ((guess == part) & (label == part)).sum().item()
                either[part] += ((guess == part) | (label == part)).sum().item()
        return float((both / either).mean())
