"""Contracts of layers and functions in which an axis, a mask or a sequence has a place."""

from __future__ import annotations

from traindx.evidence.contracts.base import Contract
from traindx.finding import Severity, Standing

SEQUENCES = (
    Contract(
        key="batch-in-the-place-of-the-sequence",
        function="torch.nn.MultiheadAttention, TransformerEncoder, TransformerEncoderLayer, TransformerDecoder, "
        "TransformerDecoderLayer, Transformer, LSTM, GRU, RNN",
        expects="the sequence along axis 0 and the batch along axis 1, unless it was made with batch_first=True",
        meaning="Samples of a batch are related to one another, and the steps of one sample never are.",
        remedy="Construct it with batch_first=True, or transpose the first two axes before and after.",
        source="PyTorch documentation of `batch_first` (False by default).",
        near="A batch as long as the sequence; sequences first from the loader on; attention over one step a sample in "
        "training, as layers that relate samples on purpose have it; sets of patches that are no batch of a loader; "
        "a training loader that does not shuffle, whose batch may be a sequence.",
        severity=Severity.CRITICAL,
        least=2,
    ),
    Contract(
        key="axes-exchanged-by-a-view",
        function="torch.Tensor.view, torch.Tensor.reshape",
        expects="numbers that stay in their order; axes change places by transpose or permute",
        meaning="Neighbours are no neighbours any more: rows are cut out of several rows, samples out of several "
        "samples.",
        remedy="Use transpose or permute where axes are to change places.",
        source="PyTorch documentation of `torch.Tensor.view`.",
        near="Axes that are split or joined, which have these lengths by chance and others when the batch is smaller; "
        "axes of length one; what libraries do.",
        severity=Severity.CRITICAL,
        sizes=2,
    ),
    Contract(
        key="last-sample-for-last-step",
        function="torch.nn.LSTM, GRU, RNN",
        expects="its output to be read as (batch, step, feature) with batch_first=True, as (step, batch, feature) "
        "without",
        meaning="One sample of the batch stands for all, or all steps of one sample for its last one.",
        remedy="Take the last step: output[:, -1] with batch_first=True, output[-1] without.",
        source="PyTorch documentation of `torch.nn.LSTM`, outputs.",
        near="An index along the axis of the steps; a packed sequence; a batch of one.",
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="hidden-state-reshaped-across-samples",
        function="torch.nn.LSTM, GRU, RNN",
        expects="its last hidden state to be read as (layers * directions, batch, feature)",
        meaning="A view with the batch first cuts this array elsewhere: what a sample gets belongs to others.",
        remedy="Move the batch first before the view: h_n.transpose(0, 1).reshape(batch, -1).",
        source="PyTorch documentation of `torch.nn.LSTM`, `h_n`.",
        near="One layer in one direction; views that keep the batch in its place.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="over-the-batch",
        function="torch.softmax, log_softmax, torch.nn.functional.normalize, cosine_similarity, in a network",
        expects="the axis of what is to be compared, and that is axis 0 here, where the samples of the batch are",
        meaning="What a sample gets depends on the others of its batch, and in a batch of one it is a constant.",
        remedy="Name the axis that was meant, mostly dim=1 or dim=-1.",
        source="PyTorch documentation of `dim`; for softmax without `dim` that of the warning it gives.",
        near="Vectors; pairs of samples (n, n); instances of one bag, which are no batch of a loader; weights; an axis "
        "that is as long as the batch by chance, and no shorter when the batch is; a training loader that does not "
        "shuffle.",
        severity=Severity.CRITICAL,
        sizes=2,
    ),
    Contract(
        key="mask-of-ones-added",
        function="torch.nn.MultiheadAttention, TransformerEncoder, scaled_dot_product_attention",
        expects="a boolean mask, or one of floating point that is added to the scores (0 and -inf)",
        meaning="Zeros and ones are added to the scores: nothing is hidden.",
        remedy="Pass a boolean mask of the polarity that the function documents (`mask.bool()`, or its inverse).",
        source="PyTorch documentation of `attn_mask` and `key_padding_mask`.",
        near="Additive masks of 0 and -inf; biases of other values; masks of zeros alone.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="causal-mask-inverted",
        function="torch.nn.MultiheadAttention, TransformerEncoder, scaled_dot_product_attention",
        expects="True where attention is forbidden (the layers), or True where it is allowed "
        "(scaled_dot_product_attention)",
        meaning="Each step sees only what comes after it, and the last one sees nothing.",
        remedy="Invert the mask: ~mask.",
        source="PyTorch documentation of `attn_mask` of `MultiheadAttention` and of `scaled_dot_product_attention`.",
        near="A causal mask of the right polarity; masks of other shapes.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="padding-mask-inverted",
        function="torch.nn.MultiheadAttention, TransformerEncoder, TransformerEncoderLayer",
        expects="key_padding_mask to be True where there is nothing but padding",
        meaning="The content is hidden, and the padding attends to itself.",
        remedy="Invert the mask: True for padding.",
        source="PyTorch documentation of `key_padding_mask`.",
        near="Masks that are all one value; sequences that are the same in all samples; where the tokens themselves "
        "are not seen, dropout makes padding differ between samples in training, and such calls are not counted.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="own-mask-inverted",
        function="softmax over scores in a layer of the script's own, scaled_dot_product_attention",
        expects="scores that hide the padding (True in the mask of scaled_dot_product_attention may be attended to, "
        "while masked_fill replaces what is True)",
        meaning="All that the sequences say is hidden, and the padding is all that is read.",
        remedy="Invert the mask: ~mask, or mask == 0 where it was mask == 1.",
        source="PyTorch documentation of `attn_mask` of `scaled_dot_product_attention` and of `masked_fill`.",
        near="Masks that hide the padding, whatever else they hide; sequences of one length; scores that hide nothing.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="own-mask-over-queries",
        function="softmax over scores in a layer of the script's own, scaled_dot_product_attention",
        expects="scores in which the padding is hidden as a key, which is the last axis",
        meaning="The padding is told to look at nothing, and everything else still looks at the padding.",
        remedy="Put the axis of the keys last: mask[:, None, None, :].",
        source="Vaswani et al., Attention Is All You Need, 2017, eq. 1: the softmax is over the keys.",
        near="Masks over keys and queries both; scores of other shapes.",
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="own-mask-of-another-sample",
        function="softmax over scores in a layer of the script's own, scaled_dot_product_attention",
        expects="the mask of each sample once for each of its heads",
        meaning="Every sample is given the mask of another one: its own padding is read, and its own end is hidden.",
        remedy="mask.repeat_interleave(heads, 0) where the heads of a sample lie in a row; repeat where samples do.",
        source="PyTorch documentation of `torch.repeat_interleave` and of `torch.Tensor.repeat`.",
        near="Masks in the order of the scores; samples of one length.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
)
