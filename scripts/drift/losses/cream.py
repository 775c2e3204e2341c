"""CREAM's loss (Wang et al. 2024, arXiv 2410.12735, eq. 9): DPO's in both directions, the more of
the opposite one the less two rankings of the candidates agree.

C l(s) + (1 - C) l(-s) with l(s) = -log sigma(s) and the consistency C, 0 to 1. Where nobody but one
policy ranked, nothing speaks against its ranking: C is 1, which is DPO.
"""

COLUMNS = ("consistency",)
SMOOTHED = False


def losses(margins, columns, smoothing):
    """See drift.losses. As l(-s) = l(s) + s, it is l(s) + (1 - C) s."""
    from torch.nn.functional import softplus

    return softplus(-margins) + (1 - columns["consistency"].nan_to_num(1.0)) * margins
