"""How a hot folder finds its files, and what it takes as one."""
