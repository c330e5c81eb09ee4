"""What fine-tuning did, in one sentence."""

from splade_sts.comparison.evidence import Comparison


def verdict(comparison: Comparison) -> str:
    """What it did to Spearman on test, with interval and p value; a change whose interval holds
    zero is called none.
    """
    test = comparison.splits["test"]
    change, p = test.spearman, test.spearman_test.p
    gain = change.gain
    p_text = "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}"
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
    return (
        f"Fine-tuning {verb} from {change.base.value:.4f} to {change.finetuned.value:.4f} "
        f"({gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], {p_text}), with {cost} per "
        f"sentence ({dims:.1f})."
    )
