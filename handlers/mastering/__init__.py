"""Finish a mix for release."""
