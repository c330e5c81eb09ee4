"""What fine-tuning did, in one sentence."""

from splade_sts.comparison.evidence import Comparison
from splade_sts.report import names


def verdict(comparison: Comparison) -> str:
    """What it did to Spearman on test, with interval and p value; a change whose interval holds
    zero is called none.
    """
    test = comparison.splits["test"]
    change = test.spearman
    gain = change.gain
    interval = ", ".join(names.ends(gain, "+"))
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
    return (
        f"Fine-tuning {verb} from {change.base.value:.4f} to {change.finetuned.value:.4f} "
        f"({gain.value:+.4f} [{interval}], {p}), with {cost} per "
        f"sentence ({dims:.1f})."
    )
