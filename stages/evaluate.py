"""evaluate: one model (base or finetuned) on validation, test, the further test sets and what is
searched in, with all predictions.
"""

import sys
from typing import cast

from splade_sts import layout, params
from splade_sts.data.pairs import Pairs, check_size
from splade_sts.data.search import Search
from splade_sts.data.sets import held_out
from splade_sts.evaluation.encoded import tokens_per_second
from splade_sts.evaluation.evaluate import evaluate_split
from splade_sts.evaluation.results import RELEVANT, Evaluation
from splade_sts.evaluation.retrieval import evaluate_search
from splade_sts.files import replacing_folder
from splade_sts.model.encoder import load_encoder
from splade_sts.process import run_stage


def main() -> None:
    name = cast(layout.Model, sys.argv[1])
    settings = params.load().evaluate
    model = load_encoder(layout.model(name))
    if settings.max_active_dims:
        model.max_active_dims = settings.max_active_dims
    found, searched = {}, {}
    with replacing_folder(layout.predictions(name)) as folder:
        for split in held_out():
            pairs = Pairs.read(layout.normalized(split))
            check_size(pairs, split)  # said here rather than by compare, after the training
            found[split] = evaluate_split(model, pairs, split, settings)
            file = layout.table(folder, split)
            file.parent.mkdir(exist_ok=True)
            found[split].predictions.write(file)
            if (queries := found[split].queries) is not None:
                queries.write(folder / layout.paraphrase_queries(name, split).name)
        for place in settings.retrieval_sets:
            searched[place], queries = evaluate_search(model, Search.read(place), place, settings)
            queries.write(folder / layout.search_queries(name, place).name)
    evaluation = Evaluation({split: part.evaluation for split, part in found.items()}, searched)
    evaluation.write(name)
    for on, part in evaluation.splits.items():
        if part.retrieval is None:
            print(
                f"no retrieval metrics: {on} has no pair of different sentences with a score of at "
                f"least {RELEVANT:g} of 1"
            )
        metrics = part.metrics
        print(
            f"{name} on {on}: Spearman {metrics.spearman:.4f}, Pearson {metrics.pearson:.4f}, "
            f"{metrics.active_dims:.1f} active dims, {part.cost.flops:.3f} FLOPs of a pair"
        )
    for place, one in searched.items():
        print(
            f"{name} on {place}: nDCG@10 {one.retrieval.ndcg_at_10:.4f}, MRR@10 "
            f"{one.retrieval.mrr_at_10:.4f}, {one.document_active_dims:.1f} active dims of a "
            f"document"
        )
    encoded = [part.encoded for part in found.values()]
    sentences, seconds = (
        sum(len(part.sentences) for part in encoded),
        sum(part.seconds for part in encoded),
    )
    speed = tokens_per_second(model, encoded)
    print(
        f"{name}: {sentences} sentences encoded in {seconds:.1f} s, {speed:.0f} tokens per second "
        f"on {model.device}"
    )


if __name__ == "__main__":
    run_stage(main)
