"""Find speech and who speaks."""
