"""The tables of the exploration: answers as vectors and on maps, their rewards, and what policies
cover."""

import dataframely as dy

from drift.tables.columns import one_of

PARTS = ("whole", "beginning")
SPACES = ("embedding", "map")
EFFECTS = ("removed", "raw", "within")
MEASURES = ("coverage", "recall", "vendi", "distance", "best_of_n")


class Embeddings(dy.Schema):
    """A policy's answers to a benchmark as vectors of an encoder: each whole, and its beginning."""

    prompt_id = dy.String(primary_key=True, description="tasks.prompt_id")
    sample = dy.Int32(primary_key=True, description="responses.sample: which of the policy's answers")
    part = one_of(
        PARTS,
        "whole: all that exploration.embedder.max_length lets the encoder read; beginning: the first 128 tokens, special ones "
        "included, so that answers of different length are compared by equally much",
        primary_key=True,
    )
    vector = dy.List(
        dy.Float32(),
        description="mean of the encoder's last hidden states over the tokens, of length 1; 0 of a text without any",
    )
    truncated = dy.Bool(description="whether the answer has more tokens than were read")


class AnswerRewards(dy.Schema):
    """How good each of a policy's answers to a benchmark is; what a ranker could not score has no
    row."""

    prompt_id = dy.String(primary_key=True, description="tasks.prompt_id")
    sample = dy.Int32(primary_key=True, description="responses.sample: which of the policy's answers")
    reward = dy.Float64(description="the higher the better; of a ranker its score, of checks the share that the answer keeps")


class Exploration(dy.Schema):
    """What each policy's answers cover of the high-reward answers of all others: those of the same
    iteration and of the base model, to the same prompts, equally many of each."""

    method = dy.String(primary_key=True, description="of the policy; base: the base model")
    iteration = dy.Int32(primary_key=True, description="of the policy; -1: the base model")
    seed = dy.Int32(primary_key=True, description="of the policy; 0: the base model")
    space = one_of(SPACES, "where it is measured: among the vectors, or on maps of them by UMAP", primary_key=True)
    part = one_of(PARTS, "embeddings.part", primary_key=True)
    effects = one_of(
        EFFECTS,
        "what became of the effects of prompts, which decide most of a vector. removed: each vector less the mean of its prompt's; "
        "raw: nothing, as the paper seems to have it; within: measured in each prompt by itself, and averaged",
        primary_key=True,
    )
    metric = one_of(
        MEASURES,
        "coverage: share of the others' high-reward answers near which the policy writes, on maps by mass of their density; recall: "
        "the same in each prompt, as near as its third-nearest answers; vendi: Vendi score of the policy's answers to a prompt, as "
        "of how many different ones; distance: mean cosine distance of two of them; best_of_n: the highest of their rewards",
        primary_key=True,
    )
    quantile = dy.Float64(
        primary_key=True, description="of the others' rewards, from which on they are high; 0: of no matter to the metric"
    )
    bandwidth = dy.Float64(
        primary_key=True, description="of the densities on maps, in multiples of Scott's rule; 0: there are no densities"
    )
    umap_seed = dy.Int32(primary_key=True, min=0, description="of the map; 0: the mean over all maps, or no map at all")
    value = dy.Float64(nullable=True, description="null where no answer is of high reward")
    low = dy.Float64(
        nullable=True,
        description="lower end of the 95% bootstrap interval over clusters of prompts, of all policies together, maps as they are; "
        "null of variants, which have none",
    )
    high = dy.Float64(nullable=True, description="its upper end")
    spread = dy.Float64(nullable=True, description="standard deviation between maps; null where there is one, or none")
    p = dy.Float64(
        nullable=True,
        min=0.0,
        max=1.0,
        description="two-sided test of the difference from the base model: labels of both are exchanged within prompts; of many "
        "such tests, not corrected; null of the base model, and of variants",
    )
    n = dy.Int32(min=0, description="prompts behind the value")
    total = dy.Int32(
        min=0, description="prompts that there are: those that lack an answer or a reward of a policy are left out"
    )


class Maps(dy.Schema):
    """Where each answer is on the maps that UMAP makes of the vectors of all policies' answers."""

    method = dy.String(primary_key=True, description="of the policy; base: the base model")
    iteration = dy.Int32(primary_key=True, description="of the policy; -1: the base model")
    seed = dy.Int32(primary_key=True, description="of the policy; 0: the base model")
    prompt_id = dy.String(primary_key=True, description="tasks.prompt_id")
    sample = dy.Int32(primary_key=True, description="responses.sample")
    effects = one_of(("removed", "raw"), "exploration.effects", primary_key=True)
    umap_seed = dy.Int32(primary_key=True, min=1, description="of the map")
    x = dy.Float64(description="along the map's first principal axis, of unit variance; a distance on a map has no meaning")
    y = dy.Float64(description="along its second")


class Landscape(dy.Schema):
    """The first map as a grid, with the effects of prompts removed: where each policy writes, and
    where the others' answers are of high reward."""

    method = dy.String(primary_key=True, description="of the policy; base: the base model")
    iteration = dy.Int32(primary_key=True, description="of the policy; -1: the base model")
    seed = dy.Int32(primary_key=True, description="of the policy; 0: the base model")
    column = dy.Int32(primary_key=True, min=0, description="of the grid point, along maps.x")
    row = dy.Int32(primary_key=True, min=0, description="of the grid point, along maps.y")
    density = dy.Float64(min=0.0, description="of the policy's answers, the highest of any policy 1")
    region = dy.Bool(description="whether the others' high-reward region, above the 80% quantile, holds the point")
    covered = dy.Bool(description="whether the policy writes there: as densely as on the border of where the others do")
