"""Conservative DPO (Mitchell 2023, https://ericmitchell.ai/cdpo.pdf, eq. 3): a share of the pairs
is taken to be the wrong way round.

(1 - e) l(s) + e l(-s) with l(s) = -log sigma(s). Unlike `robust`, which takes the same share and is
unbiased, it stops where sigma(s) is 1 - e.
"""

COLUMNS = ()
SMOOTHED = True


def losses(margins, columns, smoothing):
    """See drift.losses. As l(-s) = l(s) + s, it is l(s) + e s."""
    from torch.nn.functional import softplus

    return softplus(-margins) + smoothing * margins
