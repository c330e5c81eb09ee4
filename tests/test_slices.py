"""Parts of a split: unseen pairs, slices, and what is said of those too small."""

import numpy as np
import pandas as pd
import pytest

from splade_sts.comparison.compare import add_controls, add_costs, add_evidence, add_parts, check_same_pairs, compare, pairs_digest
from splade_sts.errors import UserError
from splade_sts.report.html import sections
from splade_sts.comparison.slices import MINIMUM_SLICE, check_genre, sentence_key, slices, unseen

PAIR = ["sentence1", "sentence2"]


def made(count: int = 200) -> tuple[dict, dict, dict, dict]:
    """Pairs with genres, base and fine-tuned predictions, and controls, all by split; the fine-tuned ones are better."""
    generator = np.random.default_rng(0)
    gold = np.round(generator.uniform(size=count), 2)
    pairs = pd.DataFrame(
        {
            "sentence1": [f"w{number} " + "long " * (number % 20) for number in range(count)],
            "sentence2": [f"w{number} other" for number in range(count)],
            "score": gold, "genre": np.where(np.arange(count) < count - 20, "news", "forum | odd"),
        }
    )
    def predicted(noise: float) -> pd.DataFrame:
        table = pairs[PAIR].assign(
            gold=gold, predicted=gold + noise * generator.normal(size=count), active_dims1=9, active_dims2=11
        )
        table.attrs["vocabulary_size"] = 1000
        return table

    controls = pairs[PAIR].assign(gold=gold, jaccard=np.linspace(0, 1, count), tfidf=gold / 2, bm25=0.0)
    return {"test": pairs}, {"test": predicted(0.5)}, {"test": predicted(0.1)}, {"test": controls}


TRAIN = pd.DataFrame([("W1  Long ", "never", 0.5), ("x", "w3 OTHER", 0.5), ("w7 other", "y", 0.1)], columns=[*PAIR, "score"])
BOOTSTRAP = (200, 0.95, 0)


def test_unseen():
    """A sentence on either side of train counts on either side of the split; case and white space do not matter."""
    pairs, *_ = made(10)
    found = unseen(pairs["test"], TRAIN)
    assert found.tolist() == [number not in (1, 3, 7) for number in range(10)]
    assert sentence_key(" A\u00a0 b\n") == "a b"


def test_every_pair_is_in_one_slice():
    """Bounds belong to the upper band, the last band is closed, and no pair falls out."""
    pairs = pd.DataFrame(
        {
            "sentence1": ["a", "a " * 8, "a " * 9, "a " * 16, "a " * 17, "!"], "sentence2": "b",
            "score": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
        }
    )
    found = slices(pairs, pd.Series([0.0, 0.25, 0.5, 0.75, 1.0, 0.24]))
    assert found["gold"].tolist() == ["0-20", "20-40", "40-60", "60-80", "80-100", "80-100"]
    assert found["length"].tolist() == ["1-8", "1-8", "9-16", "9-16", "17+", "1-8"]
    assert found["overlap"].tolist() == ["0-25", "25-50", "50-75", "75-100", "75-100", "0-25"]
    assert set(found) == {"gold", "length", "overlap"}
    assert slices(pairs.assign(genre="x"), pairs["score"])["genre"].tolist() == ["x"] * 6


def test_parts():
    """Pairs add up; a part of all pairs equals the whole; small and constant parts are marked and say nothing."""
    pairs, base, finetuned, controls = made()
    comparison = compare(base, finetuned)
    overlap = {"test": controls["test"]["jaccard"]}
    add_parts(comparison, base, finetuned, TRAIN, pairs, overlap, *BOOTSTRAP)
    values = comparison["test"]
    assert values["pairs"] == 200 and values["leak_free"]["pairs"] == 197
    for parts in values["slices"].values():
        assert sum(part["pairs"] for part in parts.values()) == 200
    genre = values["slices"]["genre"]
    assert genre["forum | odd"] == {"pairs": 20, "enough": False}
    news = genre["news"]["spearman_cosine"]
    assert genre["news"]["pairs"] == 180 and 0 < news["low"] < news["delta"] < news["high"]
    assert news["delta"] == news["finetuned"] - news["base"]

    add_parts(comparison, base, finetuned, TRAIN[:0], pairs, overlap, *BOOTSTRAP)
    leak_free = values["leak_free"]
    assert leak_free["pairs"] == 200
    for name in ("pearson_cosine", "spearman_cosine"):
        for model in ("base", "finetuned", "delta"):
            assert leak_free[name][model] == pytest.approx(values[model][name])

    constant = {"test": base["test"].assign(gold=0.5)}
    add_parts(comparison, constant, finetuned, TRAIN, pairs, overlap, *BOOTSTRAP)
    assert values["leak_free"] == {"pairs": 197, "enough": False}


def test_controls():
    """Own value, and what the fine-tuned model adds; a control that scores every pair alike is left out."""
    _, base, finetuned, controls = made()
    comparison = compare(base, finetuned)
    add_controls(comparison, controls, finetuned, *BOOTSTRAP)
    found = comparison["test"]["controls"]
    assert set(found) == {"jaccard", "tfidf"}
    assert found["tfidf"]["spearman"]["value"] == pytest.approx(1)
    assert found["tfidf"]["spearman_gain"]["high"] < 0 < found["jaccard"]["spearman_gain"]["low"]
    assert found["jaccard"]["pearson_gain"]["value"] == pytest.approx(
        comparison["test"]["finetuned"]["pearson_cosine"] - found["jaccard"]["pearson"]["value"]
    )


def test_sections():
    """One table each, rows as wide as the header, the small slice with dashes, nothing that the comparison lacks."""
    pairs, base, finetuned, controls = made()
    comparison = compare(base, finetuned)
    assert sections(comparison, 0.95) == []
    add_evidence(comparison, base, finetuned, *BOOTSTRAP)
    add_controls(comparison, controls, finetuned, *BOOTSTRAP)
    add_parts(comparison, base, finetuned, TRAIN, pairs, {"test": controls["test"]["jaccard"]}, *BOOTSTRAP)
    retrieval = {"mrr_at_10": 0.5, "ndcg_at_10": 0.6, "recall_at_10": 0.9, "queries": 5, "documents": 20}
    metrics = {"test": {"flops": 1.5, "index_bytes": 80.0, "retrieval": retrieval}}
    add_costs(comparison, metrics, {"test": {**metrics["test"], "retrieval": {**retrieval, "mrr_at_10": 0.4}}})
    assert comparison["test"]["retrieval"]["delta"]["mrr_at_10"] == pytest.approx(-0.1)
    assert comparison["test"]["delta"]["flops"] == 0
    found = {section.title: section for section in sections(comparison, 0.95)}
    assert list(found) == [
        "Against words alone", "Without what training has seen", "Did it stay a retriever?", "Slices of test",
    ]
    for section in found.values():
        assert section.reading.endswith(".") and {len(row) for row in section.rows} == {len(section.columns)}
    assert ["genre", "forum | odd", "20", "–", "–", "–", "–"] in found["Slices of test"].rows
    assert ["test", "MRR@10", "0.5000", "0.4000", "-0.1000"] in found["Did it stay a retriever?"].rows
    assert found["Against words alone"].columns[3] == "95 % interval"


def test_no_retrieval_in_one_evaluation():
    """Nothing is compared with nothing."""
    _, base, finetuned, _ = made()
    comparison = compare(base, finetuned)
    add_costs(comparison, {"test": {"flops": 1.0, "index_bytes": 8.0}}, {"test": {"flops": 1.0, "index_bytes": 8.0}})
    assert "retrieval" not in comparison["test"]


def test_digests():
    """Pairs, their order and gold scores make the digest; predictions do not."""
    pairs, base, finetuned, controls = made()
    tables = {"data/normalized": pairs["test"], "base": base["test"], "finetuned": finetuned["test"], "controls": controls["test"]}
    check_same_pairs(tables, "test")
    for other in (
        base["test"].iloc[::-1], base["test"][:-1], base["test"].assign(sentence2="x"), base["test"].assign(gold=0.25),
    ):
        assert pairs_digest(other) != pairs_digest(base["test"])
        said = f"test: the predictions are of different pairs: .*base {pairs_digest(other)[:12]} .*dvc repro"
        with pytest.raises(UserError, match=said):
            check_same_pairs({**tables, "base": other}, "test")


def test_a_missing_genre_is_named():
    """The parameter names a column, and the data that compare reads has none."""
    pairs, *_ = made()
    check_genre(pairs, "genre")
    check_genre({"test": pairs["test"][PAIR]}, None)
    with pytest.raises(UserError, match="data.columns.genre is 'kind', but data/normalized has no genre for test"):
        check_genre({"test": pairs["test"][PAIR]}, "kind")


def test_the_smallest_slice_means_something():
    """The number behind the rule: 1.96 / sqrt(n - 3) in Fisher's z is 0.29, which is 0.28 as a correlation."""
    assert np.tanh(1.96 / np.sqrt(MINIMUM_SLICE - 3)) == pytest.approx(0.28, abs=0.005)
