"""Shape level over time."""
