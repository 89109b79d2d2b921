"""Results that are given again instead of made again, for the same question."""
