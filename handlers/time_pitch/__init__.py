"""Change tempo and pitch."""
