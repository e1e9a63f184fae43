import pytest

from cf.core.errors import InputError
from cf.core.names import models_of, parse_model_name


@pytest.mark.parametrize("name", ["row", "observed", "global_mean", "bias", "ease", "dot_sd"])
def test_a_name_that_the_reports_use_is_refused(name: str) -> None:
    message = f"params.yaml: train_{name}: the name {name} has another meaning in the reports"
    with pytest.raises(InputError, match=message):
        parse_model_name(["stages/train.py", name])
    assert parse_model_name(["stages/train.py", "dotbias_sgd"]) == "dotbias_sgd"
    with pytest.raises(InputError, match=r"which model\? Usage: python -m stages.train NAME"):
        parse_model_name(["stages/train.py"])


def test_models_are_the_columns_that_are_neither_keys_nor_deviations() -> None:
    columns = ["row", "user", "item", "observed", "bias", "bayesmf", "bayesmf_sd"]
    assert models_of(columns) == ["bias", "bayesmf"]
