"""The card of a release: that of the report, with every result where the Hub looks for it, and how
the model was made.

https://huggingface.co/docs/hub/model-cards#evaluation-results
"""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from splade_sts import layout
from splade_sts.comparison.evidence import SearchComparison
from splade_sts.comparison.statistics import Correlations, Estimate
from splade_sts.evaluation.results import MEASURES
from splade_sts.model.card import UNKNOWN, USE
from splade_sts.release.run import Run
from splade_sts.report import names
from splade_sts.report.sections import mean_names
from splade_sts.report.setting import origin
from splade_sts.text import markdown_table, one_line

# What a name on the Hub takes the place of.
PLACE = "path/to/this/folder"
# The names that sentence-transformers gives to what its evaluators measure.
COSINE = {"spearman": "spearman_cosine", "pearson": "pearson_cosine"}
SEARCHED = {name: f"cosine_{name.replace('_at_', '@')}" for name in MEASURES}


def release_card(run: Run) -> str:
    """The card of a release, with the Hub's front matter."""
    content = run.record.artifacts[str(layout.REPORTS / "model_card.md")].decode("utf-8")
    card = ModelCard(content, ignore_metadata_errors=False)
    results = [*similarity_results(run), *search_results(run)]
    front: dict[str, Any] = card.data.to_dict()  # type: ignore[no-untyped-call]
    data = ModelCardData(**front, model_name=run.name, eval_results=results)
    # what comes from outside is one line in the card: it begins no section
    first, *others = card.text.strip().removesuffix(USE.strip()).strip().split("\n\n## ")
    sections = [f"## {section}" for section in others]
    parts = [
        first,
        _use(run),
        *sections,
        *_further(run),
        *_searches(run),
        _license(run),
        _made(run),
    ]
    text = f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"
    return str(ModelCard(text, ignore_metadata_errors=False))


def similarity_results(run: Run) -> Iterator[EvalResult]:
    """Spearman and Pearson of the cosines with the gold scores, and active dims, of the fine-tuned
    model on every set that it was measured on.
    """
    splits = run.evaluation.splits
    for name in sorted(splits, key=lambda name: name != "test"):
        metrics = splits[name].metrics
        values = {COSINE[one]: getattr(metrics, one) for one in COSINE}
        for metric, value in {**values, "active_dims": metrics.active_dims}.items():
            yield EvalResult(
                task_type="semantic-similarity",
                task_name="Semantic Similarity",
                metric_type=metric,
                metric_name=metric.replace("_", " ").title(),
                metric_value=value,
                **_dataset(run, name),
            )


def search_results(run: Run) -> Iterator[EvalResult]:
    """What the queries of each set found that is searched in."""
    for name, found in run.evaluation.searches.items():
        compared = run.comparison.searches[name]
        values = {SEARCHED[one]: getattr(found.retrieval, one) for one in MEASURES}
        dims = {
            "query_active_dims": found.query_active_dims,
            "corpus_active_dims": found.document_active_dims,
        }
        for metric, value in {**values, **dims}.items():
            yield EvalResult(
                task_type="information-retrieval",
                task_name="Information Retrieval",
                dataset_type=compared.source if compared.revision else name,
                dataset_name=name,
                dataset_revision=compared.revision,
                metric_type=metric,
                metric_name=metric.replace("_", " ").title(),
                metric_value=value,
            )


def _dataset(run: Run, name: str) -> dict[str, Any]:
    """What the Hub wants to know of a set. Where it is none of the Hub's, its type is a name."""
    data = run.setting.provenance
    if name in layout.HELD_OUT:
        return {
            "dataset_type": data.source,
            "dataset_name": f"{data.source} ({name})",
            "dataset_split": name,
            "dataset_revision": data.revision,
        }
    found = data.test_sets[name]
    return {
        "dataset_type": found.source if found.revision else name,
        "dataset_name": name,
        "dataset_config": found.config,
        "dataset_split": found.split,
        "dataset_revision": found.revision,
    }


def _further(run: Run) -> list[str]:
    """The further test sets, with intervals; empty where there are none."""
    suite = run.comparison.suite
    if suite is None:
        return []
    level, rows = suite.levels["all"], []
    for name, part in level.sets.items():
        dims = run.evaluation.splits[name].metrics.active_dims
        data = run.setting.provenance
        place = data.test_sets.get(name, data)
        rows.append(
            [
                one_line(name),
                one_line(origin(place.source, place.revision)),
                f"{part.pairs:,}",
                *_coefficients(part.found.get("finetuned")),
                names.number("active_dims", dims),
            ]
        )
    for which, label in mean_names(suite)[0].items():
        found = level.means[which].found.get("finetuned")
        rows.append([label, "", "", *_coefficients(found), ""])
    interval = f"[{names.percent(run.comparison.confidence)} interval]"
    headers = ["set", "source", "pairs"]
    headers += [f"{names.METRICS[one]} {interval}" for one in COSINE]
    table = markdown_table([*headers, names.METRICS["active_dims"]], rows, labels=2)
    said = mean_names(suite)[1].strip()
    return ["## Further test sets", table, *([said] if said else [])]


def _coefficients(found: Correlations | None) -> list[str]:
    return ["", ""] if found is None else [_with_ends(found.spearman), _with_ends(found.pearson)]


def _with_ends(found: Estimate) -> str:
    return f"{found.value:.4f} [{', '.join(names.ends(found))}]{names.mark(found)}"


def _searches(run: Run) -> list[str]:
    """The sets that were searched in, with the change by training and its interval; empty where
    there are none.
    """
    searches = run.comparison.searches
    if not searches:
        return []
    rows = [
        [
            one_line(name),
            one_line(origin(found.source, found.revision)),
            *(_searched(found, measure) for measure in MEASURES),
            names.number("active_dims", found.finetuned_active_dims),
        ]
        for name, found in searches.items()
    ]
    headers = ["set", "source", *(names.METRICS[one] for one in MEASURES)]
    note = (
        f"In brackets the {names.percent(run.comparison.confidence)} interval of the change by "
        "fine-tuning, over groups of queries."
    )
    table = markdown_table([*headers, "active dims of a document"], rows, labels=2)
    return ["## Search", table, note]


def _searched(found: SearchComparison, measure: str) -> str:
    change = getattr(found.retrieval, measure)
    value = names.number(measure, change.finetuned)
    return value if change.gain is None else f"{value} [{', '.join(names.ends(change.gain, '+'))}]"


def _use(run: Run) -> str:
    limit = run.setting.params.get("evaluate.max_active_dims")
    more = f", max_active_dims={limit}" if limit else ""
    measured = f"\n\nThe results are those of at most {limit} active dims." if limit else ""
    return f"""## Use

`pip install sentence-transformers=={version("sentence-transformers")}`, then

```python
from sentence_transformers import SparseEncoder

model = SparseEncoder("{PLACE}"{more})
embeddings = model.encode(["A plane is taking off.", "An air plane is taking off."])
print(model.similarity(embeddings, embeddings))  # cosine
print(model.decode(embeddings[0], top_k=8))  # terms and their weights
```{measured}"""


def _license(run: Run) -> str:
    base = run.setting.base
    source, license = one_line(base["source"]), base["license"]
    if license == UNKNOWN:
        said = f"The base model {source} names no licence: ask who made it before you hand it on."
    else:
        said = f"`{license}`, which the model inherits from its base model {source}."
        if "-nc" in license:
            said += " Not for commercial use."
    return f"## Licence\n\n{said}"


def _made(run: Run) -> str:
    """Data and base model with their revisions, commit, parameters, hashes."""
    commit = f"Commit `{run.commit}`"
    if run.changed:
        changed = ", ".join(map(one_line, run.changed))
        commit += f", with changes that it does not hold in {changed}"
    summary = [[name, one_line(text)] for name, text in run.setting.summary().items()]
    hashes = [[f"`{path}`", f"`{md5}`"] for path, md5 in run.outputs.items()]
    return "\n\n".join(
        [
            "## How it was made",
            f"{commit}. `dvc repro` makes all of it from [the parameters](pipeline/params.yaml).",
            markdown_table(["part", "what it was"], summary, labels=2),
            "[dvc.lock](pipeline/dvc.lock) has the hash of everything that went in and came out:",
            markdown_table(["output", "DVC's hash (MD5)"], hashes, labels=2),
            "[The report](report/comparison.html) has more: slices, controls, the data audit.",
        ]
    )
