"""The script that MLflow runs to load a registered model; all it does is in cf.serving.pyfunc."""

from mlflow.models import set_model

from cf.serving.pyfunc import ServedModel

set_model(ServedModel())
