"""The names in the table of predictions."""

COLUMNS = ("rows", "users", "items", "observed")
BASELINES = ("global_mean", "bias")
RESERVED = (*COLUMNS, *BASELINES)
