"""What the five recipes share: how a training is set up, run, resumed, stored, measured and reported."""
