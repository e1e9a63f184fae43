"""Answers of trained models, from NumPy alone: predictions, lists, new people, reasons."""
