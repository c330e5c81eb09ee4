"""What people read instead of our names, and how many digits a number carries."""

METRICS = {
    "pearson": "Pearson",
    "spearman": "Spearman",
    "active_dims": "active dims",
    "sparsity_ratio": "sparsity",
    "flops": "FLOPs of a pair",
    "index_bytes": "index bytes",
    "mrr_at_10": "MRR@10",
    "ndcg_at_10": "nDCG@10",
    "recall_at_10": "recall@10",
}
MODELS = {"base": "base", "finetuned": "fine-tuned"}
CONTROLS = {
    "jaccard": "word overlap (Jaccard)",
    "tfidf": "TF-IDF cosine",
    "char_tfidf": "TF-IDF cosine of characters",
    "bm25": "BM25",
    "dense": "dense model",
}
SLICES = {
    "gold": "gold score (% of its range)",
    "length": "words of the longer sentence",
    "overlap": "word overlap (Jaccard, %)",
    "genre": "genre",
}
FORMATS = {"active_dims": ".1f", "index_bytes": ".0f", "flops": ".3f"}


def number(metric: str, value: float, sign: str = "") -> str:
    """`value` with the digits of its metric; `sign` is `+` for a change."""
    return format(value, sign + FORMATS.get(metric, ".4f"))


def percent(share: float) -> str:
    """A level such as 0.95 as `95 %`."""
    return f"{100 * share:g} %"
