"""Scoring, without PyTorch."""
