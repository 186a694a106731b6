"""Bone age group from 8-bit hand radiographs."""
import numpy as np
import torch
import torch.nn as nn

rng = np.random.RandomState(0)
torch.manual_seed(0)


def radiographs(n):
    y = rng.randint(0, 4, size=n)
    x = np.zeros((n, 24, 24), np.uint8)
    for i, c in enumerate(y):
        img = 60 + 15 * rng.randn(24, 24)
        img[:, 6:6 + 4 * (c + 1)] += 90
        x[i] = np.clip(img, 0, 255)
    return x, y.astype(np.int64)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=2, padding=2), nn.ReLU(),
        )
        self.fc1 = nn.Linear(32 * 36, 64)
        self.fc2 = nn.Linear(64, 4)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(self.body(x).flatten(1))))


def to_input(img):
    x = torch.from_numpy(img).unsqueeze(1).float()
    return x


imgs, labels = radiographs(320)
val_imgs, val_labels = radiographs(80)
net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
ce = nn.CrossEntropyLoss()
for epoch in range(4):
    order = rng.permutation(len(imgs))
    for k in range(0, len(order), 16):
        b = order[k:k + 16]
        logits = net(to_input(imgs[b]))
        loss = ce(logits, torch.from_numpy(labels[b]))
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        acc = (net(to_input(val_imgs)).argmax(1).numpy() == val_labels).mean()
    print("epoch", epoch, "loss", loss.item(), "val acc", acc)
