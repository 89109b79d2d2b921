"""Whatever fails, whoever dies: what is promised is true afterwards."""
