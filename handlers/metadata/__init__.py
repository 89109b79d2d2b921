"""Tags and what else a container holds."""
