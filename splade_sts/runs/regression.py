"""Is a run worse than another one? Spearman of the two fine-tuned models on the same pairs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from splade_sts import layout
from splade_sts.comparison.statistics import Bootstrap, Estimate, estimates
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.report import names
from splade_sts.runs.experiments import open_runs
from splade_sts.runs.record import not_in_cache
from splade_sts.runs.scores import NotInCacheError, check_same_pairs, read_predictions
from splade_sts.runs.source import RunFiles
from splade_sts.text import printed_json


@dataclass(frozen=True)
class Regression:
    """Spearman of the fine-tuned models of two runs.

    Attributes:
        run, against: the runs.
        split: whose pairs.
        pairs: how many pairs both have scored.
        confidence: level of the intervals.
        now, before: Spearman of `run`, and of `against`.
        change: `now` minus `before`, on the same resamples of the pairs. It speaks of other pairs
            with these two models, not of other seeds.
    """

    run: str
    against: str
    split: layout.Split
    pairs: int
    confidence: float
    now: Estimate
    before: Estimate
    change: Estimate

    @property
    def fell(self) -> bool:
        """Whether the whole interval of the change lies below 0."""
        return self.change.high < 0


def regression(root: Path, run: str, against: str, bootstrap: Bootstrap) -> Regression:
    """Compare the fine-tuned models of two runs by their Spearman on test.

    Args:
        root: the project's root.
        run, against: DVC experiments or Git revisions.
        bootstrap: how the intervals are made.

    Raises:
        NotInCacheError: DVC's cache lacks the predictions of a run.
        UserError: there is no such run, the runs were evaluated on other pairs, or their scores
            hardly vary.
    """
    return compare_runs(open_runs(root, (run, against)), "test", bootstrap)


def compare_runs(
    opened: Mapping[str, RunFiles], split: layout.Split, bootstrap: Bootstrap
) -> Regression:
    """Compare the fine-tuned models of two runs that are open: the first one with the second one.

    Args:
        opened: the files of both, by name.
        split: validation or test.
        bootstrap: how the intervals are made.

    Raises:
        NotInCacheError, UserError: as `regression`.
    """
    run, against = opened
    found = {name: _predictions(name, files, split) for name, files in opened.items()}
    pairs = found[run].pairs
    check_same_pairs(split, {against: found[against].pairs, run: pairs})
    made = estimates(
        pairs.score,
        {"now": found[run].cosine, "before": found[against].cosine},
        {"change": ("now", "before")},
        bootstrap,
    )
    if "change" not in made:
        raise UserError(
            f"the gold scores of {split}, or the cosines of {run} or {against}, are (nearly) all "
            "the same: no interval can be given; check the data and the models"
        )
    now, before, change = (made[name].spearman for name in ("now", "before", "change"))
    return Regression(run, against, split, len(pairs), bootstrap.confidence, now, before, change)


def _predictions(name: str, files: RunFiles, split: layout.Split) -> Predictions:
    found = read_predictions(files, "finetuned", split)
    if found is None:
        path = layout.prediction("finetuned", split)
        raise NotInCacheError(not_in_cache([f"{path} of {name}"]))
    return found


def as_text(found: Regression) -> str:
    """One sentence, and what its mark means."""
    change = found.change
    verb = "fell" if found.fell else "rose" if change.low > 0 else "did not change significantly:"
    said = (
        f"From {found.against} to {found.run}, {found.split} Spearman {verb} from "
        f"{found.before.value:.4f} to {found.now.value:.4f} ({change.value:+.4f} "
        f"[{', '.join(names.ends(change, '+'))}]{names.mark(change)}; "
        f"{names.percent(found.confidence)} interval of the paired bootstrap, "
        f"{found.pairs:,} pairs)."
    )
    return f"{said}\n\n{names.PERCENTILE_NOTE}" if names.mark(change) else said


def as_json(found: Regression) -> str:
    """The fields of `Regression`, and `fell`."""
    return printed_json({**asdict(found), "fell": found.fell})
