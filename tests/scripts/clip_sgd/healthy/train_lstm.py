"""ECG beat classifier, LSTM + SGD with clipping."""
import torch
from torch import nn

torch.manual_seed(0)


class BeatNet(nn.Module):
    def __init__(self, hidden=32, classes=3):
        super().__init__()
        self.rnn = nn.LSTM(1, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.fc(out.mean(1))


def beats(n, gen):
    y = torch.randint(0, 3, (n,), generator=gen)
    t = torch.linspace(0, 1, 40)
    width = torch.tensor([0.02, 0.06, 0.15])[y][:, None]
    x = torch.exp(-((t[None] - 0.5) ** 2) / (2 * width**2)) * 2 + 0.1 * torch.randn(n, 40, generator=gen)
    return x.unsqueeze(-1), y


gen = torch.Generator().manual_seed(0)
net = BeatNet()
opt = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
ce = nn.CrossEntropyLoss()
max_norm = 1.0
for step in range(120):
    x, y = beats(16, gen)
    loss = ce(net(x), y)
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), max_norm=max_norm)
    opt.step()
    if step % 40 == 39:
        with torch.no_grad():
            xv, yv = beats(100, gen)
            acc = (net(xv).argmax(1) == yv).float().mean()
        print("step", step + 1, "loss", round(loss.item(), 4), "acc", round(acc.item(), 3))
