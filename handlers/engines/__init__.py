"""What operations stand on: engines, one per file, and the shelf that lends those with weights."""
