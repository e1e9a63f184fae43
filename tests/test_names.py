import pytest

from cf.core.errors import InputError
from cf.core.names import check_model_name, models_of


@pytest.mark.parametrize("name", ["row", "observed", "global_mean", "bias", "ease", "dot_sd"])
def test_a_name_that_the_reports_use_is_refused(name: str) -> None:
    message = f"params.yaml: train_{name}: the name {name} has another meaning in the reports"
    with pytest.raises(InputError, match=message):
        check_model_name(name)
    check_model_name("dotbias_sgd")


def test_models_are_the_columns_that_are_neither_keys_nor_deviations() -> None:
    columns = ["row", "user", "item", "observed", "bias", "bayesmf", "bayesmf_sd"]
    assert models_of(columns) == ["bias", "bayesmf"]
