"""Operations that write, read, change and render MIDI."""
