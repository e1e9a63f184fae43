import pytest
import torch

from cf.core.errors import InputError
from cf.training import device
from cf.training.checkpoint import ModelSpec


def test_too_many_factors_for_the_memory_are_refused_before_they_are_made() -> None:
    model = {"name": "dotbias", "init_range": [-0.05, 0.05], "n_factors": 10**9}
    spec = ModelSpec(model, n_users=610, n_items=9724, rating_range=(0.5, 5.0))
    with pytest.raises(
        InputError, match=r"train_dotbias.model: training needs .* GiB .* n_factors"
    ):
        device.check_memory(spec, "params.yaml: train_dotbias.model", torch.device("cpu"))


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"params.yaml: train_dot.device"):
        device.choose(name, "params.yaml: train_dot.device")
