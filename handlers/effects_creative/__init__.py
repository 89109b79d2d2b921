"""Effects for their own sake."""
