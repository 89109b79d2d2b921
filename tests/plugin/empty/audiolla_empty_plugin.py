"""A plugin that forgot what it is for."""
