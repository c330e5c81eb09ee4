"""What was compared, for people: model, data, training, and the parameters that mattered."""

import json
from dataclasses import dataclass
from typing import Any

from splade_sts.data.provenance import Provenance
from splade_sts.known import trained_on

# Parameters of a data source's kind: what only files have, and what only files of the user have.
OF_THE_HUB = ("data.revision",)
OF_OWN_FILES = ("data.path", "data.files.", "data.header", "data.delimiter", "data.quotes")


@dataclass(frozen=True)
class Setting:
    """What was compared.

    Attributes:
        base: content of models/base.json.
        data: content of evidence/data.json.
        provenance: where the data came from.
        training: content of evidence/train.json.
        params: parameters under their dotted names.
        score_range: lowest and highest score of the source.
    """

    base: dict[str, Any]
    data: dict[str, Any]
    provenance: Provenance
    training: dict[str, Any]
    params: dict[str, Any]
    score_range: tuple[float, float]

    def summary(self) -> dict[str, str]:
        """A line each on the model, the data and the training."""
        rows = ", ".join(f"{split} {found['rows']}" for split, found in self.data["splits"].items())
        base, data = self.base, self.provenance
        model = f"{origin(base['source'], base['revision'])}{self._conversion()}{self._pooling()}"
        return {
            "base model": f"{model}; licence {base['license']}",
            "trained before on": trained_on(base["source"]),
            "data": f"{origin(data.source, data.revision)}; pairs: {rows}",
            "training": f"{self._training()}; {self._kept()}",
        }

    def _training(self) -> str:
        values = {name: yaml_word(value) for name, value in self.params.items()}
        number = self.params["train.epochs"]
        epochs = "1 epoch" if number == 1 else f"{number:g} epochs"
        return (
            f"{epochs} of batches of {values['train.batch_size']}, "
            f"learning rate {values['train.learning_rate']}, loss {values['train.loss']}, "
            f"regulariser weight {values['train.regularizer_weight']}, "
            f"seed {values['train.seed']}, {self.training['precision']}{self._processes()}"
        )

    def _processes(self) -> str:
        count = self.training.get("processes", 1)  # of runs from before there could be several: 1
        return f", {count} processes" if count > 1 else ""

    def _kept(self) -> str:
        return f"step {self.training['best_step']} of {self.training['steps']} was kept"

    def _conversion(self) -> str:
        dims = self.base["converted_to_active_dims"]
        return f", a dense encoder converted to {dims} active dims without training" if dims else ""

    def _pooling(self) -> str:
        """How the base model makes a vector of its tokens, where that is not the usual way."""
        usual = {"pooling_strategy": "max", "activation_function": "relu"}
        found = {key: self.base.get(key, value) for key, value in usual.items()}
        return "" if found == usual else f", {' of '.join(found.values())} over the tokens"

    def label_noise(self) -> list[str]:
        """What the gold scores allow on test, a sentence each; empty where no pair has several."""
        found = self.data["label_noise"]
        repeated, disagreeing = found["repeated"], found["disagreeing"]
        if repeated is None or "test" not in repeated["ceilings"]:
            return []
        differ = disagreeing["groups"] if disagreeing else 0
        lines = [
            f"{repeated['groups']} pairs stand in several rows of all splits together.",
            f"{differ} of them have different gold scores.",
            f"By all of them, {_noise(repeated)}.",
        ]
        if disagreeing:
            lines.append(f"By those that differ, {_noise(disagreeing)}.")
        return [
            *lines,
            "The first is too optimistic where equal scores are copies of one judgement.",
            "The second is too pessimistic, and repeated pairs are not drawn at random.",
        ]

    def parameters(self) -> dict[str, str]:
        """The parameters that were used, with their values as YAML writes them."""
        unused = list(OF_THE_HUB if self.provenance.revision is None else OF_OWN_FILES)
        if self.params["data.source"] == "sample":
            unused += OF_OWN_FILES
        if self.base["revision"] is None:
            unused.append("base_model.revision")
        if not self.params["controls.dense_model"]:
            unused.append("controls.dense_revision")
        if not self.params.get("evaluate.retrieval_set"):
            unused.append("evaluate.retrieval_revision")
        return {
            name: yaml_word(value)
            for name, value in self.params.items()
            if not name.startswith(tuple(unused))
        }

    def on_scale(self, score: float) -> str:
        """A gold score in [0, 1] on the scale of the source: `4.2 of 5`."""
        low, high = self.score_range
        return f"{low + score * (high - low):.3g} of {high:g}"


def _noise(found: dict[str, Any]) -> str:
    """How far scores of a pair are apart, and the correlation that this would allow."""
    ceiling = found["ceilings"]["test"]
    return (
        f"the standard deviation of a gold score is {found['deviation']:.3f} of the range"
        f"{_ends(found)}, and a perfect model would have a Pearson of {ceiling['value']:.3f}"
        f"{_ends(ceiling)} on test if every gold score were that uncertain"
    )


def _ends(found: dict[str, Any]) -> str:
    return "" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]"


def origin(source: str, revision: str | None) -> str:
    """Source and revision, where it has one."""
    return f"{source} at {revision[:12]}" if revision else source


def yaml_word(value: Any) -> str:
    """A value as params.yaml would hold it: `null`, `true`, `[0, 5]`."""
    return value if isinstance(value, str) else json.dumps(value)
