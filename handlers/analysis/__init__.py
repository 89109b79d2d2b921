"""Measure and describe."""
