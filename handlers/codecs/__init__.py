"""Files in and out of sounds: sniff, read, write, and what else a container holds."""
