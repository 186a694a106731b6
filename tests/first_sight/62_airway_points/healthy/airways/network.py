"""A PointNet for parts: features of the point joined to those of the whole tree."""
import torch
import torch.nn as nn


def mlp(cin, cout):
    return nn.Sequential(nn.Conv1d(cin, cout, 1, bias=False), nn.BatchNorm1d(cout), nn.ReLU())


class PointNet(nn.Module):
    def __init__(self, width=48, classes=4):
        super().__init__()
        self.local = nn.Sequential(mlp(3, width), mlp(width, width))
        self.whole = nn.Sequential(mlp(width, 2 * width), mlp(2 * width, 2 * width))
        self.head = nn.Sequential(mlp(3 * width, 2 * width), mlp(2 * width, width), nn.Conv1d(width, classes, 1))

    def forward(self, xyz):
        local = self.local(xyz)
        whole = self.whole(local).amax(2, keepdim=True).expand(-1, -1, xyz.shape[2])
        return self.head(torch.cat([local, whole], 1))
