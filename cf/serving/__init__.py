"""The champion as a model of MLflow: from code, without pickle, answering by people's own ids."""
