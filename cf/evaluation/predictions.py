"""The names in the table of predictions, and in that of rankings."""

COLUMNS = ("row", "user", "item", "observed")
BASELINES = ("global_mean", "bias")
RECOMMENDERS = ("popularity", "itemknn", "ease")
RESERVED = (*COLUMNS, *BASELINES, *RECOMMENDERS)
SD = "_sd"
"""The end of the name of a column that has the standard deviations of a model's predictions."""


def is_taken(name: str) -> bool:
    """Whether the reports use a name otherwise than for a model."""
    return name in RESERVED or name.endswith(SD)
