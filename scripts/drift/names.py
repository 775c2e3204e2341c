"""Names that the configuration, the tables of the evaluation and the report share."""

from typing import Literal

# The benchmark of the scores that are computed from log-probabilities of held-out corrections.
HELDOUT_PAIRS = "heldout-pairs"
# The judge of scores that no judge gave: lengths, margins.
UNJUDGED = ""
# The opponent of the judgments that is the answer of the benchmark itself, not a reference's.
BASELINE = "baseline"

# What keeping a check does to the length of a reply (drift.checks).
DIRECTIONS = ("shorter", "longer", "neutral")

# The prompts of a recipe that trains on replies one by one, and the pools that it takes them from:
# what disappointed, with and without a word of the user, and what satisfied.
UNPAIRED = "unpaired"
UNPAIRED_POOLS = ("dsat", "sat", "wordless")

# The policy that requests are put to, by what it is to an iteration: the one that the iteration
# starts from; the one that its method started from; one that is trained from the previous one on
# the pairs of all other candidates first, and then asked for more; or another model.
Asked = Literal["previous", "initial", "future", "writer"]
PREVIOUS: Asked = "previous"
INITIAL: Asked = "initial"
FUTURE: Asked = "future"
WRITER: Asked = "writer"
