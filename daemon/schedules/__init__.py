"""The clock: work that begins at a time of day, and the daemon's own housekeeping."""
