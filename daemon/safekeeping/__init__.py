"""What keeps the queue's records safe: copies of them, and what is done when they are damaged."""
