"""Standard MIDI Files: their events in memory, their time, their notes, and back into bytes.

Source: MIDI Manufacturers Association, "Standard MIDI Files 1.0", RP-001, 1996.
"""
