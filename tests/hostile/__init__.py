"""Inputs made to break something: generators, canaries, and the promises that they test."""
