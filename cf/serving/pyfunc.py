"""A trained model as MLflow serves it, and how it is saved."""

import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.pyfunc.model import PythonModel
from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, ParamSpec, Schema

from cf.core.errors import InputError
from cf.inference import bundle
from cf.inference.load import load
from cf.serving.answers import PARAMS, answer

SCRIPT = Path(__file__).with_name("mlflow_model.py")
ARTIFACT = "project"
PACKAGES = ("mlflow", "numpy", "pandas", "pyarrow", "rapidfuzz", "safetensors")
"""What answers need besides cf, which is not on PyPI and has to be installed."""

ANY: Any = AnyType()  # type: ignore[no-untyped-call]  # ids are numbers or text
SIGNATURE = ModelSignature(
    inputs=Schema(
        [ColSpec(ANY, name, required=False) for name in ("user_id", "item_id", "ratings")]
    ),
    outputs=Schema(
        [
            ColSpec(DataType.long, "row"),
            ColSpec(DataType.long, "rank", required=False),
            ColSpec(ANY, "item_id"),
            ColSpec(DataType.string, "title", required=False),
            ColSpec(DataType.double, "prediction"),
            ColSpec(DataType.double, "std", required=False),
            ColSpec(DataType.string, "note"),
        ]
    ),
    params=ParamSchema(
        [
            ParamSpec(name, "string" if name in ("by", "genre") else "long", default)
            for name, default in PARAMS.items()
        ]
    ),
)


class ServedModel(PythonModel):
    """Answers requests as `cf.serving.answers.answer` says."""

    def load_context(self, context: Any) -> None:
        """Load the model of the folder that MLflow has brought."""
        (folder,) = (Path(context.artifacts[ARTIFACT]) / "models").iterdir()
        self.model = load(folder)
        self.model.prepare()

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """The answers; what cannot be answered is MLflow's error of status 400."""
        try:
            return answer(self.model, model_input, params or {})
        except InputError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


def save(project: Path, name: str, folder: Path) -> None:
    """Write a project's trained model to an empty folder as a model of MLflow.

    Raises:
        InputError: as `bundle.write`.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, ARTIFACT)
        model = bundle.write(project, name, copy)
        items, users = model.catalog.items["item_id"], model.catalog.user_ids
        example = pd.DataFrame({"user_id": users[:1], "item_id": items[:1]})
        save_model(
            path=folder,
            python_model=os.fspath(SCRIPT),
            artifacts={ARTIFACT: copy.as_uri()},  # a path is read as an address
            signature=SIGNATURE,
            input_example=example,
            pip_requirements=[f"{package}=={version(package)}" for package in PACKAGES],
        )
