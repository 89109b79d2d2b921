"""The doors: REST today, MCP tomorrow, computed from the declarations."""
