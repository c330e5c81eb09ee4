"""controls: the same pairs scored by words alone, and by a dense encoder where there is one, to
compare our encoder with.
"""

from splade_sts import layout, params
from splade_sts.comparison.statistics import correlation
from splade_sts.controls.lexical import fit
from splade_sts.controls.reference import DenseEncoder, dense_encoder
from splade_sts.controls.scores import DENSE, ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.data.sets import held_out
from splade_sts.files import replacing_folder, write_json
from splade_sts.process import run_stage


def score(
    train: Pairs, pairs: dict[str, Pairs], dense: DenseEncoder | None, max_seq_length: int
) -> dict[str, ControlScores]:
    controls = fit(train)
    if dense is not None:
        from splade_sts.controls.dense import DenseControl

        model = DenseControl(dense.source, dense.revision, max_seq_length, dense.key)
        controls[DENSE] = model.scores
    return {
        split: ControlScores(part, {name: scores(part) for name, scores in controls.items()})
        for split, part in pairs.items()
    }


def strongest(values: dict[str, float]) -> dict[str, float]:
    """The best of the controls without an encoder, and the dense encoder: what a model is measured
    by.
    """
    words = {name: value for name, value in values.items() if name != DENSE}
    best = max(words, key=words.__getitem__, default=None)
    return {name: value for name, value in values.items() if name in (best, DENSE)}


def main() -> None:
    settings = params.load()
    dense = dense_encoder(settings.controls, settings.base_model)
    pairs = {name: Pairs.read(layout.normalized(name)) for name in held_out()}
    longest = settings.base_model.max_seq_length
    scored = score(Pairs.read(layout.normalized("train")), pairs, dense, longest)
    with replacing_folder(layout.CONTROLS) as folder:
        for split, table in scored.items():
            file = layout.table(folder, split)
            file.parent.mkdir(exist_ok=True)
            table.write(file)
    found = {
        split: {
            name: both
            for name, scores in table.scores.items()
            if (both := correlation(table.pairs.score, scores))
        }
        for split, table in scored.items()
    }
    spearman = {
        split: {name: both["spearman"] for name, both in values.items()}
        for split, values in found.items()
    }
    write_json(layout.evidence("controls"), found)
    headlines = {str(split): strongest(spearman[split]) for split in layout.HELD_OUT}
    write_json(layout.metrics("controls"), headlines)
    if dense is not None:
        base = ", which the base model is converted from" if dense.of_base_model else ""
        print(f"dense: {dense.source}{base}, on the first {longest} tokens of a sentence")
    for split, values in spearman.items():
        print(
            f"{split}: Spearman "
            + ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        )


if __name__ == "__main__":
    run_stage(main)
