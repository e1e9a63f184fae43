"""From a data set's name to arrays: download, parse, validate, encode, split."""
