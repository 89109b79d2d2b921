"""MIDI: written, read, changed, rendered and transcribed."""
