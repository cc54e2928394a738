"""Judges without their upper layers."""
