"""KTO (Ethayarajh et al. 2024, arXiv 2402.01306): training on replies one by one, each desirable or
undesirable, by TRL's trainer of it. See drift.training.

    r = log pi(y|x) - log pi_ref(y|x),   z = max(0, mean of log pi(y'|x) - log pi_ref(y'|x))
    loss of a desirable reply     w_D (1 - sigma(beta (r - z)))
    loss of an undesirable reply  w_U (1 - sigma(beta (z - r)))

z estimates KL(pi || pi_ref) and has no gradient; y' is the reply of the row before in a device's
batch. A row that is trained on once more, to fill up the last step, keeps it. TRL takes the mean
over what all devices have at once. Here it is over all rows of a step, so that the number of
devices changes nothing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch
import trl
from datasets import Dataset
from torch.utils.data import Sampler
from trl import KTOConfig, KTOTrainer

from drift.chat import end_of_turn, without_end
from drift.cli import StageError
from drift.seeds import picked
from drift.settings.training import LabelWeightSettings, TrainingRun, TrainSettings
from drift.tables import Unpaired, read_table
from drift.training.cpu_lm_head import score_replies_only
from drift.training.gates import Gates
from drift.training.logps import PairLogps, PairTokens
from drift.training.order import as_stored, filled
from drift.training.pair_gates import PairGates
from drift.training.trainer import bare, placeholder, shared_arguments

REWARDS = ("rewards/chosen", "rewards/rejected")

# How many times the undesirable replies, number times weight, the desirable ones are to weigh, by
# the paper.
RATIO = (1.0, 4 / 3)


def read_rows(own: Path, replayed: list[Path]) -> pl.DataFrame:
    """The rows of an Unpaired table; replies of earlier iterations are the same ones."""
    rows = read_table(Unpaired, own)
    if rows["desirable"].n_unique() < 2:
        raise StageError(f"{own} has replies of one label alone, and KTO needs both; the ledger says where the others went")
    return rows


def ordered(rows: pl.DataFrame, settings: TrainSettings) -> pl.DataFrame:
    """The rows in the order in which they are trained on, in every epoch: by seeded hash. Which
    replies stand in for y' follows from it."""
    places = {prompt_id: place for place, prompt_id in enumerate(picked(rows["prompt_id"], rows.height, settings.seed))}
    return rows.sort(pl.col("prompt_id").replace_strict(places))


def preceding(replies: Sequence, batch: int) -> list:
    """Of each reply the one before it among `batch` of them, of the first the last: TRL's y'. The
    first replies fill up the last batch (drift.training.order), unless it is the only one, where a
    reply could come before itself."""
    rows = filled(replies, batch) if len(replies) > batch else replies
    blocks = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    return [reply for block in blocks for reply in (block[-1], *block[:-1])][: len(replies)]


def token_rows(rows: pl.DataFrame, settings: TrainSettings) -> list[PairTokens]:
    """The token ids of prompt, reply and y', which stands in the place of a rejected reply: the
    reference scores both, as it does those of a pair."""
    rows = ordered(rows, settings)
    columns = rows.select("prompt_id", "prompt_token_ids", "reply_token_ids")
    others = preceding(rows["reply_token_ids"].to_list(), settings.training.device_batch)
    return [
        PairTokens(pair_id=prompt_id, prompt_ids=prompt, chosen_ids=reply, rejected_ids=other)
        for (prompt_id, prompt, reply), other in zip(columns.iter_rows(), others, strict=True)
    ]


def selected(
    gates: Gates, rows: pl.DataFrame, tokens: list[PairTokens], reference: PairLogps, settings: TrainSettings
) -> tuple[pl.DataFrame, list[PairTokens]]:
    """All of them. `gates` records what both labels weigh."""
    counts, weights = label_counts(rows), label_weights(rows, settings.label_weights)
    ratio = counts[0] * weights[0] / (counts[1] * weights[1])
    within = RATIO[0] <= round(ratio, 6) <= round(RATIO[1], 6)
    detail = (
        f"{counts[0]} desirable replies of weight {weights[0]:.3g}, {counts[1]} undesirable ones of {weights[1]:.3g}: the former "
        f"weigh {ratio:.2f} times as much, {'within' if within else 'outside'} the authors' 1 to 4/3"
    )
    gates.check("label weights", True, detail)
    if not within:
        print(f"warning: {detail}; training.label_weights: {{desirable: null, undesirable: null}} is within", file=sys.stderr)
    return rows, tokens


def label_counts(rows: pl.DataFrame) -> tuple[int, int]:
    """Desirable and undesirable rows."""
    desirable = int(rows["desirable"].sum())
    return desirable, rows.height - desirable


def label_weights(rows: pl.DataFrame, asked: LabelWeightSettings) -> tuple[float, float]:
    """What a desirable and an undesirable row weigh; where nothing is `asked`, both labels weigh
    the same together, and rows of the commoner one 1."""
    counts = label_counts(rows)
    given = (asked.desirable, asked.undesirable)
    return tuple(max(counts) / count if weight is None else weight for count, weight in zip(counts, given, strict=True))


def arguments(settings: TrainSettings, run: TrainingRun, state: Path, rows: pl.DataFrame) -> KTOConfig:
    """The trainer's arguments."""
    desirable, undesirable = label_weights(rows, settings.label_weights)
    loss = settings.training.losses["kto"]
    return KTOConfig(
        **shared_arguments(settings, run, state),
        loss_type="kto",
        desirable_weight=loss * desirable,
        undesirable_weight=loss * undesirable,
        train_sampling_strategy="sequential",
    )


def as_dataset(rows: pl.DataFrame, settings: TrainSettings) -> Dataset:
    """The rows as the trainer takes them: conversations, which it renders by itself, with their
    stored prompt, and whether the reply is cut."""
    return Dataset.from_list(
        [
            {
                "pair_id": row["prompt_id"],
                "prompt": row["prompt"],
                "completion": [{"role": "assistant", "content": row["reply"]}],
                "label": row["desirable"],
                "prompt_token_ids": row["prompt_token_ids"],
                "cut": row["cut"],
            }
            for row in ordered(rows, settings).iter_rows(named=True)
        ]
    )


class Trainer(KTOTrainer):
    """TRL's KTO trainer on replies with known reference log-probabilities, whose KL divergence is
    estimated over all rows of a step."""

    def __init__(self, model, args: KTOConfig, reference: PairLogps, **options):
        self.reference = reference
        # TRL would hash every weight to look up log-probabilities of an earlier run.
        trl.trainer.kto_trainer.hash_module = lambda module: ""
        super().__init__(model, ref_model=placeholder(), args=args, **options)
        self.ref_model = None

    def _prepare_dataset(self, dataset: Dataset, processing_class, args: KTOConfig, dataset_name: str) -> Dataset:
        # TRL renders every reply with an end of turn; one that was cut has none.
        rendered = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        end = end_of_turn(processing_class)
        cut, batch = list(rendered["cut"]), args.per_device_train_batch_size
        replies = [
            without_end(ids, end) if is_cut else ids for ids, is_cut in zip(rendered["completion_ids"], cut, strict=True)
        ]
        rendered = rendered.remove_columns(["completion_ids", "KL_completion_ids"])
        rendered = rendered.add_column("completion_ids", replies).add_column("KL_completion_ids", preceding(replies, batch))
        return rendered.add_column("other_cut", preceding(cut, batch))

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        # TRL's constructor has set its own head by now, and nothing has used it yet.
        if not torch.cuda.is_available():
            score_replies_only(bare(self.model), pairs=False)
        logps = [self.reference[pair_id] for pair_id in dataset["pair_id"]]
        dataset = dataset.add_column("ref_logps", [own for own, _ in logps])
        return dataset.add_column("ref_KL_logps", [other for _, other in logps])

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        return as_stored(self, train_dataset)

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """transformers' batches of a step; what pi has moved on y' is measured on all of them."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if batches:
            self.moved = self.mean_moved(batches)
        return batches, items

    def mean_moved(self, batches: list[dict]) -> torch.Tensor:
        """The mean of log pi(y'|x) - log pi_ref(y'|x) over the rows of `batches` on all devices: a
        scalar, without dropout, so that a training that resumes finds the same."""
        self.model_wrapped.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self.accelerator.device)
        for batch in map(self._prepare_inputs, batches):
            with torch.no_grad(), self.compute_loss_context_manager():
                logps = super()._compute_kl_logps(self.model_wrapped, batch)
            sums += torch.stack([(logps - batch["ref_KL_logps"]).double().sum(), sums.new_tensor(len(logps))])
        total, count = self.accelerator.reduce(sums, "sum")
        return total / count

    def _compute_kl_logps(self, model, batch: dict) -> torch.Tensor:
        # What TRL makes a mean of, and takes the reference's from.
        return self.moved.expand(len(batch["label"]))

    def _compute_loss(self, model, inputs: dict, return_outputs: bool):
        return super()._compute_loss(model, inputs | {"ref_KL_logps": torch.zeros_like(inputs["ref_KL_logps"])}, return_outputs)


class ReplyGates(PairGates):
    """The gates of pairs on replies and their y'; that these differ means nothing."""

    UNIT = "replies"

    def check_sides(self) -> None:
        """A reply has no other side."""


def gates(recorded: Gates, dataset: Dataset) -> ReplyGates:
    """The gates on the trainer's data set."""
    names = {
        "completion_ids": "chosen_ids",
        "KL_completion_ids": "rejected_ids",
        "cut": "chosen_cut",
        "other_cut": "rejected_cut",
    }
    return ReplyGates(recorded, dataset.rename_columns(names))


def own_logps(reference: PairLogps) -> PairLogps:
    """None: the table is of pairs."""
    return {}
