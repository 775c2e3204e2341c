"""Names that the configuration, the tables of the evaluation and the report share."""

# The benchmark of the scores that are computed from log-probabilities of held-out corrections.
HELDOUT_PAIRS = "heldout-pairs"
# The judge of scores that no judge gave: lengths, margins.
UNJUDGED = ""
# The opponent of the judgments that is the answer of the benchmark itself, not a reference's.
BASELINE = "baseline"

# What keeping a check does to the length of a reply (drift.checks).
DIRECTIONS = ("shorter", "longer", "neutral")
