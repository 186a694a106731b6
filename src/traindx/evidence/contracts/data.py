"""Contracts of functions that read, resize, scale, divide and score."""

from __future__ import annotations

from traindx.evidence.contracts.base import Contract
from traindx.finding import Severity, Standing

DATA = (
    Contract(
        key="small-integers-wrap",
        function="sums, differences and products of torch tensors of 8 or 16 bits",
        expects="results within the range of the type, beyond which they wrap round",
        meaning="A small negative difference becomes a large positive number.",
        remedy="Convert to float first: a.float() - b.float().",
        source="PyTorch documentation of type promotion: two tensors of one integer type keep it.",
        near="Masks, whose sums and differences stay within the range; products of masks.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="scaled-twice",
        function="the network",
        expects="images that were divided by 255 once",
        meaning="All values lie within 1/255 of 0: the network sees nearly black images.",
        remedy="Take one of the two divisions away; ToTensor and many readers scale already.",
        source="torchvision documentation of `ToTensor`; scikit-image documentation of `img_as_float`.",
        near="Dark images of other steps: only images all of whose values are whole multiples of 1/255² are counted.",
        standing=Standing.DEMONSTRATED,
    ),
    Contract(
        key="decision-over-the-batch",
        function="torch.argmax",
        expects="the axis of the classes, and that is axis 0 here, where the samples of the batch are",
        meaning="It names one sample a class instead of one class a sample.",
        remedy="Use dim=1 (or -1).",
        source="PyTorch documentation of `torch.argmax`, `dim`.",
        near="One sample (classes, rows, columns); pairs (n, n); an axis that is as long as the batch by chance.",
        severity=Severity.CRITICAL,
        sizes=2,
    ),
    Contract(
        key="lengths-of-padding",
        function="torch.nn.utils.rnn.pack_padded_sequence",
        expects="the true lengths of the sequences",
        meaning="The padding is read as if it were data, and the last state is that after the padding.",
        remedy="Pass the lengths that the sequences had before they were padded.",
        source="PyTorch documentation of `pack_padded_sequence`, `lengths`.",
        near="Sequences of one length; lengths that differ.",
    ),
    Contract(
        key="overlap-metric-of-no-mask",
        function="monai.metrics.DiceMetric, MeanIoU, HausdorffDistanceMetric, SurfaceDistanceMetric, "
        "ConfusionMatrixMetric",
        expects="predictions of zeros and ones with one channel a class",
        meaning="Probabilities, logits or class numbers are multiplied with the masks: the figure is that of no mask.",
        remedy="Threshold the prediction, or take AsDiscrete(argmax=True, to_onehot=classes), before the metric.",
        source="MONAI documentation of `DiceMetric`, `y_pred`.",
        near="Masks as floating point numbers; metrics that were told the number of classes.",
        standing=Standing.DEMONSTRATED,
    ),
    Contract(
        key="fitted-again",
        function="sklearn transformers' fit_transform",
        expects="one fit, on the training data; what is evaluated goes through transform",
        meaning="Training and evaluation are scaled, encoded or reduced by different numbers.",
        remedy="Use transform for validation and test data.",
        source="scikit-learn documentation, Common pitfalls: inconsistent preprocessing.",
        near="A loop that fits anew for each fold or image; one object for tables of other columns; names that say "
        "nothing of an evaluation.",
        least=1,
    ),
    Contract(
        key="resampled-before-the-split",
        function="sklearn.model_selection.train_test_split",
        expects="rows that know nothing of one another",
        meaning="What was made or chosen with the help of the evaluation's rows is on both sides: its figure is too "
        "good.",
        remedy="Split first; resample and select features on the training part alone.",
        source="scikit-learn documentation, Common pitfalls: data leakage; imbalanced-learn documentation, Common "
        "pitfalls.",
        near="Rows as they were read; scaling, whose leak is small and which is not counted.",
        least=1,
    ),
    Contract(
        key="range-of-other-images",
        function="skimage.metrics.peak_signal_noise_ratio, structural_similarity",
        expects="the range that the images can have as data_range",
        meaning="A factor of 255 in the range is 48 dB, and a structural similarity of nearly 1 whatever the image.",
        remedy="Pass the range of these very images: 1 for images in 0 to 1, 255 for bytes.",
        source="scikit-image documentation of `data_range`.",
        near="Dark images and empty slices among others; CT slices that hold part of their range.",
        standing=Standing.DEMONSTRATED,
    ),
    Contract(
        key="label-map-rescaled",
        function="skimage.transform.resize",
        expects="preserve_range=True where the numbers are labels; else integers are divided by the largest of their "
        "type",
        meaning="Labels 1, 2, 3 become 0.004, 0.008, 0.012, and 0 where they are made whole again.",
        remedy="Pass order=0, preserve_range=True, anti_aliasing=False.",
        source="scikit-image documentation of `resize`, `preserve_range`.",
        near="Masks of 0 and 255, and of True and False; images.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
        least=1,
    ),
    Contract(
        key="size-exchanged",
        function="cv2.resize, PIL.Image.resize, skimage.transform.resize",
        expects="(columns, rows), of scikit-image (rows, columns)",
        meaning="The image gets the proportions that its transpose would have: everything is squeezed one way.",
        remedy="Exchange the two numbers of the size.",
        source="OpenCV documentation of `resize`, `dsize`; Pillow documentation of `Image.resize`; scikit-image "
        "documentation of `output_shape`.",
        near="Square images and square sizes; sizes of other proportions.",
    ),
    Contract(
        key="channels-resampled",
        function="scipy.ndimage.zoom, rotate",
        expects="to act on every axis that it is told, the colour axis with them",
        meaning="Colours are mixed or their number changes.",
        remedy="Pass zoom=(f, f, 1), or axes= the two image axes.",
        source="SciPy documentation of `zoom` and `rotate`, `axes`.",
        near="Volumes, none of whose outer axes has length 3; factors of 1 for the colours.",
    ),
    Contract(
        key="turned-along-the-channels",
        function="fliplr, flipud, rot90 and flip, of torch and numpy",
        expects="the plane of the image in the axes that it acts on (by default the first two)",
        meaning="Channels or samples change places, and the image is not mirrored or turned as the name says.",
        remedy="Name the axes of the plane: torch.flip(x, dims=(-1,)), np.flip(x, axis=-1), rot90(x, k, (-2, -1)).",
        source="NumPy and PyTorch documentation of `fliplr` (axis 1), `flipud` (axis 0) and `rot90` (axes 0 and 1).",
        near="Images with channels last, and volumes; `flip` of channels (colours from RGB to BGR, points in time) "
        "where neither the line nor the function around it says that a plane is mirrored.",
    ),
    Contract(
        key="mirrored-along-one-entry",
        function="flip, of torch and numpy",
        expects="axes with more than one entry",
        meaning="Nothing is mirrored: the images have one channel, and its axis was counted as one of the plane.",
        remedy="Count from the end: dims=(-1,) for left and right, dims=(-2,) for above and below.",
        source="NumPy and PyTorch documentation of `flip`.",
        near="A line that mirrors images of several channels as well, or other axes as well.",
    ),
)
