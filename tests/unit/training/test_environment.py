"""What a training runs on."""

import pytest

from splade_sts.errors import UserError
from splade_sts.training import environment
from splade_sts.training.environment import device_name, library_versions, resolve_precision


@pytest.mark.parametrize(("native", "resolved"), [(True, "bf16"), (False, "fp32")])
def test_precision_on_a_cpu(monkeypatch, native, resolved):
    """It never stays auto; others are taken as they are."""
    monkeypatch.setattr(environment.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(environment, "has_native_bfloat16", lambda: native)
    assert resolve_precision("auto") == resolved
    assert resolve_precision("fp32") == "fp32"
    assert resolve_precision("bf16") == "bf16"


def test_precision_on_a_gpu_without_bf16(monkeypatch):
    """Asked for auto it does without; bf16 is refused."""
    monkeypatch.setattr(environment.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(environment, "is_torch_bf16_gpu_available", lambda: False)
    assert resolve_precision("auto") == "fp32"
    with pytest.raises(UserError, match="set it to auto or fp32"):
        resolve_precision("bf16")


def test_what_a_result_may_depend_on():
    """The device has a name, and each library a version."""
    assert device_name()
    assert library_versions()["version.torch"].startswith("2.")
