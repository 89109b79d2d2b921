"""The parts of a job that `daemon.runner` puts together: what was said, named and written."""
