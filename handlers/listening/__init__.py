"""Features that operations hear in a sound, by topic; see `handlers.hearing`."""
