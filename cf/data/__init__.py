"""From a data set's name to frames of ratings and items, and which rows are held out."""
