"""Shape spectrum and stereo image."""
