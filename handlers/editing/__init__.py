"""Cut, join, fade, convert."""
