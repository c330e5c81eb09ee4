"""What fine-tuning did, in one sentence."""

from splade_sts.comparison.evidence import Comparison, ControlResult
from splade_sts.comparison.statistics import Estimate
from splade_sts.controls.scores import DENSE
from splade_sts.report import names


def verdict(comparison: Comparison) -> str:
    """What it did to Spearman on test, with interval and p value, and what gives that its size.

    A change whose interval holds zero is called none. Its size comes from the dense encoder where
    there is one, else from the best score by words alone. A second sentence says what the mark of a
    percentile interval means, where there is one.
    """
    test = comparison.splits["test"]
    change = test.spearman
    gain = change.gain
    interval = _interval(gain, "+")
    p = names.p_value(test.spearman_test)
    if gain.low > 0:
        verb = "raised test Spearman"
    elif gain.high < 0:
        verb = "lowered test Spearman"
    else:
        verb = "made no significant difference to test Spearman:"
    dims = test.finetuned.metrics.active_dims
    more = dims - test.base.metrics.active_dims
    if more == 0:
        cost = "the same number of active dims"
    else:
        cost = f"{abs(more):.1f} {'more' if more > 0 else 'fewer'} active dims"
    dense = f"the dense encoder{' it was made from' if comparison.dense_is_parent else ''}"
    size = "" if test.reference is None else f"; {_against(test.reference, dense)}"
    said = (
        f"Fine-tuning {verb} from {change.base.value:.4f} to {change.finetuned.value:.4f} "
        f"({gain.value:+.4f} {interval}, {p}), with {cost} per sentence ({dims:.1f}){size}."
    )
    return f"{said} {names.PERCENTILE_NOTE}" if names.PERCENTILE_MARK in said else said


def _interval(found: Estimate, sign: str = "") -> str:
    """Without a sign where only its size is said."""
    low, high = names.ends(found, sign)
    ends = [low, high] if sign else sorted(end.lstrip("-") for end in (low, high))
    return f"[{', '.join(ends)}]{names.mark(found)}"


def _against(reference: ControlResult, dense: str) -> str:
    """How far the fine-tuned model is from a reference."""
    found, value = reference.spearman_gain, f"{reference.spearman.value:.4f}"
    name = dense if reference.name == DENSE else names.CONTROLS[reference.name]
    if found.low <= 0 <= found.high:
        interval = _interval(found, "+")
        return f"it cannot be told from {name} ({value}; difference {found.value:+.4f} {interval})"
    side = "above" if found.value > 0 else "below"
    return f"that is {abs(found.value):.4f} {_interval(found)} {side} {name} ({value})"
