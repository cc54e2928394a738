"""Rewrites of the traced graph, one a file."""
