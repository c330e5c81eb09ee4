"""When the trainer logs, validates and saves, and what is seen of a training while it runs."""

import sys
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from splade_sts.training.curves import Point, TrainingPoint
from splade_sts.training.selection import LOGGED_FITNESS

# Without the steps a second, so that a line of 80 columns has room for what comes in their place.
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class StepCallback(TrainerCallback):
    """Logs, validates and saves after the last step too, which the trainer does only where the
    intervals divide it; and saves a model that is better than all before.
    """

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = control.should_evaluate = control.should_save = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if state.best_metric is None or kwargs["metrics"][LOGGED_FITNESS] > state.best_metric:
            control.should_save = True


class ProgressBar(TrainerCallback):
    """One bar over the steps, with the last loss, validation Spearman and active dims beside it.

    Where standard error is no terminal, it is a line for each validation instead. `close` it also
    after an error.
    """

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.shown: dict[str, str] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(
                desc="training",
                total=state.max_steps,
                initial=state.global_step,
                bar_format=BAR,
                dynamic_ncols=True,
                file=sys.stderr,
                disable=not sys.stderr.isatty(),
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def show(self, point: Point) -> None:
        """Take a point of either curve; one that comes before the bar waits for it."""
        if isinstance(point, TrainingPoint):
            self.shown["loss"] = f"{point.loss:.4f}"
        else:
            self.shown |= {
                "Spearman": f"{point.spearman:.4f}",
                "dims": f"{point.active_dims:.1f}",
            }
        if self.bar is None:
            return
        self.bar.set_postfix(self.shown)
        if self.bar.disable and not isinstance(point, TrainingPoint):
            values = ", ".join(f"{name} {value}" for name, value in self.shown.items())
            print(
                f"training, step {point.step} of {self.bar.total}: {values}",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """End the bar, and with it its line."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
