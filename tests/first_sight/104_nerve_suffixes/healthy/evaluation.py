"""Metrics of the predicted masks on the test subjects, class by class."""
import numpy as np
from scipy.ndimage import label


class Evaluation3DMetrics:
    def __init__(self, prediction, truth):
        self.prediction, self.truth = prediction.astype(bool), truth.astype(bool)

    def dice(self, k):
        p, t = self.prediction[k], self.truth[k]
        return 2 * (p & t).sum() / max(p.sum() + t.sum(), 1)

    def relative_volume_difference(self, k):
        p, t = self.prediction[k].sum(), self.truth[k].sum()
        return (p - t) / max(t, 1)

    def object_sensitivity(self, k, share=0.5):
        objects, count = label(self.truth[k])
        found = [self.prediction[k][objects == n].mean() > share for n in range(1, count + 1)]
        return np.mean(found) if found else np.nan


def get_gt(filenames):
    return np.stack([np.load(name) for name in filenames])


def evaluate(rows, folder, target_suffix, params):
    """Means over the subjects of a table: {class: {metric: value}}."""
    table = {suffix: [] for suffix in target_suffix}
    for row in rows:
        prediction = np.load(folder / f"{row['subject']}_pred.npy") > params["threshold"]
        fname_gt = []
        for suffix in target_suffix:
            fname_gt += [name for name in row["derivatives"] if name.stem.endswith(suffix)]
        metrics = Evaluation3DMetrics(prediction, get_gt(fname_gt))
        for k, suffix in enumerate(target_suffix):
            values = {"dice": metrics.dice(k), "rvd": metrics.relative_volume_difference(k)}
            if params["object_detection"]:
                values["ltpr"] = metrics.object_sensitivity(k)
            table[suffix].append(values)
    return {suffix: {key: np.nanmean([v[key] for v in values]) for key in values[0]} for suffix, values in table.items()}
