"""Teacher and student networks for OCT B-scans."""
import torch.nn as nn


def unit(inside, outside, pool):
    layers = [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
    return layers + ([nn.MaxPool2d(2)] if pool else [])


class TeacherNet(nn.Module):
    def __init__(self, classes, width=12):
        super().__init__()
        layers = []
        for inside, outside in ((1, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += unit(inside, outside, False) + unit(outside, outside, True)
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(4 * width, classes))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class StudentNet(nn.Module):
    def __init__(self, classes, width=8):
        super().__init__()
        self.features = nn.Sequential(*unit(1, width, True), *unit(width, 2 * width, True), *unit(2 * width, 2 * width, True))
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x):
        return self.head(self.features(x).amax((2, 3)))
