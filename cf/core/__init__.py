"""What everything else stands on: params.yaml, paths, files, errors, ratings."""
