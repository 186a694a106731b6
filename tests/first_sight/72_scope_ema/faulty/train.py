"""Phase of a laparoscopic frame; the averaged weights are the ones that are shipped."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

from scope import EMA, PHASES, Frames


def make_net(ch=16):
    def block(cin, cout):
        return [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.SiLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(3, ch), *block(ch, 2 * ch), *block(2 * ch, 4 * ch), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * ch, len(PHASES)))


@torch.no_grad()
def accuracy(net, loader):
    net.eval()
    return sum((net(frames).argmax(1) == phases).sum().item() for frames, phases in loader) / len(loader.dataset)


def main():
    torch.manual_seed(0)
    train_loader = DataLoader(Frames(800, 1, train=True), batch_size=32, shuffle=True, drop_last=True)
    val_loader = DataLoader(Frames(300, 2), batch_size=100)
    net = make_net()
    ema = EMA(net, decay=0.98)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    for epoch in range(1, 11):
        net.train()
        total = 0.0
        for frames, phases in train_loader:
            loss = F.cross_entropy(net(frames), phases, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ema.update()
            total += loss.item()
        if epoch % 2 == 0:
            print(f"epoch {epoch:2d} loss {total / len(train_loader):.4f} val accuracy (EMA) {accuracy(ema, val_loader):.3f}")
    torch.save(ema.copy.state_dict(), "phase_ema.pt")


if __name__ == "__main__":
    main()
