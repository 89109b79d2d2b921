"""Which file gets which steps. Pure functions over plain data: no disk, no clock."""
