"""What can be done to sound. Knows nothing of queues, HTTP or rules."""
