"""Self-consistency as a ranker: the candidate that the others are most like."""

import pytest
import torch
from transformers import BertConfig, BertModel

from drift.cli import StageError
from drift.engines import encoders
from drift.rankers import medoid
from drift.settings.sampling import RewardSettings

SETTINGS = {"cut": "drop", "kind": "medoid", "max_length": 40, "wrong": 0.0, "seed": 42}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, tokenizer):
    """Folder of a small randomly initialised encoder."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    folder = tmp_path_factory.mktemp("encoder")
    BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def scored(encoder, *texts: str, question: str = "Why?", settings: RewardSettings | None = None) -> list[float]:
    prompt = [{"role": "user", "content": question}]
    rows = [{"request_id": f"p#plain-{number}", "prompt": prompt, "text": text} for number, text in enumerate(texts)]
    found = medoid.scores(rows[::-1], settings or RewardSettings(**SETTINGS, path=str(encoder)), encoder)
    return [found[row["request_id"]] for row in rows]


def test_the_score_is_the_mean_cosine_with_the_other_candidates(encoder):
    texts = ("Because they are old.", "Rivers run to the sea.", "Nobody knows.")
    model, tokenizer = encoders.load(encoder, "rankers.NAME.path")
    with torch.no_grad():
        states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in texts]
    alike = [[float(torch.cosine_similarity(one, other, dim=0)) for other in states] for one in states]
    expected = [(sum(row) - row[number]) / 2 for number, row in enumerate(alike)]
    assert scored(encoder, *texts) == pytest.approx(expected, abs=1e-5)


def test_what_most_candidates_say_wins(encoder):
    same, other = "Because they are old.", "The market opens at nine and sells fish, bread and flowers."
    first, odd, second = scored(encoder, same, other, same)
    assert first == pytest.approx(second)
    assert first > odd


def test_candidates_are_compared_within_their_prompt_and_one_alone_has_no_score(encoder):
    row = {"prompt": [{"role": "user", "content": "Who?"}], "text": "They."}
    alone = row | {"request_id": "q#plain-0"}
    pair = [row | {"request_id": f"p#plain-{n}", "prompt": [{"role": "user", "content": "Why?"}]} for n in (0, 1)]
    found = medoid.scores([alone, *pair], RewardSettings(**SETTINGS, path=str(encoder)), encoder)
    assert found.keys() == {"p#plain-0", "p#plain-1"}
    assert found["p#plain-0"] == pytest.approx(1.0)


def test_a_reply_longer_than_the_encoder_reads_counts_by_its_beginning(encoder):
    settings = RewardSettings(**SETTINGS | {"max_length": 4096}, path=str(encoder))
    long = "river " * 200
    assert scored(encoder, long, f"{long} and the sea", settings=settings) == pytest.approx([1.0, 1.0])


def test_what_is_no_encoder_is_refused_with_the_key_to_fix(tmp_path, tiny_model):
    with pytest.raises(StageError, match=r"LlamaForCausalLM writes texts, and is no encoder; fix rankers\.NAME\.path"):
        encoders.load(tiny_model, "rankers.NAME.path")
    with pytest.raises(StageError, match=r"no encoder can be loaded .*fix rankers\.NAME\.path"):
        encoders.load(tmp_path, "rankers.NAME.path")


def test_two_candidates_are_as_like_each_other_and_so_are_two_pairs_of_equal_ones(encoder):
    texts = ["Because they are old.", "Rivers run to the sea.", "Nobody knows.", "The market opens at nine.", "It depends."]
    for one in texts:
        for other in texts:
            if one != other:
                first, second = scored(encoder, one, other)
                assert first == second
                assert len(set(scored(encoder, one, other, one, other))) == 1
