"""Losses of pairs that TRL does not have. One module each.

A loss is a module with

    COLUMNS                                what it reads of Pairs besides both replies
    SMOOTHED                               whether it needs training.label_smoothing above 0
    losses(margins, columns, smoothing)    the loss of each pair

`margins` are s = beta [log-ratio(y+) - log-ratio(y-)] of the pairs of a batch, of shape (pairs,)
and with gradient; `columns` the values of COLUMNS, of the same shape, NaN where a pair has none.
The result has that shape too. A new loss is such a module and its line in plugins.LOSSES.

The configuration loads losses, so that their top level does not import torch.
"""
