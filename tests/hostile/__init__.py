"""Inputs that somebody made to break something: generators, canaries, and the promises they test."""
