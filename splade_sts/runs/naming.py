"""What a run's name says of its parameters, and what else sets it apart from the runs beside it."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def named_params(name: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters that the whole name consists of, with their values: `seed-7-epochs-2`.

    `splade_sts.runs.sweep` names experiments so, and whoever runs `dvc exp run -n seed-7 -S
    train.seed=7` by hand does the same.

    Args:
        name: of a DVC experiment, or any other.
        params: parameters as in `splade_sts.runs.record.Record`.

    Returns:
        Empty where the name is no such one.
    """
    for key, value in params.items():
        for text in _forms(value):
            part = f"{_short(key)}-{text}"
            if name == part.rstrip("."):
                return (key,)
            if name.startswith(f"{part}-") and (
                others := named_params(name[len(part) + 1 :], params)
            ):
                return (key, *others)
    return ()


def _forms(value: Any) -> set[str]:
    """How a value may stand in the name of an experiment."""
    texts = (value if isinstance(value, str) else json.dumps(value), str(value))  # false, False
    # a whole number, though the parameter is a fraction
    words = (*texts, *(re.sub(r"\.0\b", "", text) for text in texts))
    return {re.sub(r"[^0-9A-Za-z_.-]+", "_", word) for word in words}


def usual_values(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The value of each parameter that more than half of the runs have; a parameter without one is
    missing.

    Args:
        runs: parameters of each run, the same ones for all.
    """
    found = {}
    for key in runs[0] if runs else ():
        values = {repr(params[key]): params[key] for params in runs}
        value, count = Counter(repr(params[key]) for params in runs).most_common(1)[0]
        if 2 * count > len(runs):
            found[key] = values[value]
    return found


def label(name: str, params: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """The name, and in brackets the values that it does not say and that are not the usual ones:
    `long (epochs=2)`.
    """
    named = named_params(name, params)
    apart = {
        key: value
        for key, value in params.items()
        if key not in named and not (key in usual and repr(usual[key]) == repr(value))
    }
    return f"{name} ({assignments(apart)})" if apart else name


def assignments(params: Mapping[str, Any]) -> str:
    """`epochs=2, seed=7`."""
    return ", ".join(f"{_short(key)}={shown(value)}" for key, value in params.items())


def shown(value: Any) -> str:
    """A value as people write it: `null` for none, 0.0001 for 1e-4."""
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _short(key: str) -> str:
    return key.rsplit(".", 1)[-1]
