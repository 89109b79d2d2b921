"""The process that never sleeps: folders, queue, workers, and the command."""
