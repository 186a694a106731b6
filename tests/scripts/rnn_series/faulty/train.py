"""ICU time series: predict the sum of infusions from 60 steps with a plain RNN."""
import torch
import torch.nn as nn


class Rnn(nn.Module):
    def __init__(self, hidden=32, gain=1.8):
        super().__init__()
        self.hidden = hidden
        self.inp = nn.Linear(2, hidden)
        self.rec = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, 1)
        nn.init.orthogonal_(self.rec.weight, gain=gain)

    def forward(self, x):
        h = x.new_zeros(x.size(0), self.hidden)
        for t in range(x.size(1)):
            h = torch.relu(self.inp(x[:, t]) + self.rec(h))
        return self.out(h).squeeze(-1)


def series(n, gen, length=25):
    x = torch.rand(n, length, 2, generator=gen)
    x[:, :, 1] = (x[:, :, 1] > 0.8).float()
    return x, (x[:, -8:, 0] * x[:, -8:, 1]).sum(1)


torch.manual_seed(0)
gen = torch.Generator().manual_seed(0)
model = Rnn()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(120):
    x, y = series(32, gen)
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 40 == 39:
        with torch.no_grad():
            xv, yv = series(128, gen)
            print(step + 1, float(loss), "val", float(nn.functional.mse_loss(model(xv), yv)))
