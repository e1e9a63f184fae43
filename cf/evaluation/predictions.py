"""The names in the table of predictions, and in that of rankings."""

COLUMNS = ("rows", "users", "items", "observed")
BASELINES = ("global_mean", "bias")
RECOMMENDERS = ("popularity", "itemknn", "ease")
RESERVED = (*COLUMNS, *BASELINES, *RECOMMENDERS)
