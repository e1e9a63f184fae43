"""The stages of the pipeline, one thin script each."""
