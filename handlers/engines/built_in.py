"""Engines without weights: libraries and kernels that are always there once installed."""

from __future__ import annotations

from handlers.engines.declare import Engine

ENGINES: tuple[Engine[None], ...] = (
    Engine(
        "matchering", "matchering", "Masters a mix after a reference.", libraries=("matchering",)
    ),
    Engine(
        "pedalboard-chain",
        "pedalboard_chain",
        "Masters a mix with a chain of effects.",
        libraries=("pedalboard",),
        presets=("transparent", "loud"),
    ),
    Engine("librosa-analyze", "librosa_analyze", "Measures and describes a sound."),
    Engine("sox-transform", "sox_transform", "The ten steps of SoX."),
    Engine("fx-chain", "fx_chain", "Chains of effects.", libraries=("pedalboard",)),
    Engine("midi-compose", "midi_compose", "Writes and reads MIDI files."),
    Engine("midi-render", "midi_render", "Plays MIDI files through a SoundFont."),
    Engine("silence-detect", "silence_detect", "Finds silence."),
    Engine("ffmpeg-render", "ffmpeg_render", "Pictures and video of sound.", libraries=("av",)),
    Engine("audio-fingerprint", "audio_fingerprint", "Chromaprint fingerprints."),
    Engine("chord-detect", "chord_detect", "Finds chords and key."),
    Engine("stretch", "stretch", "Changes tempo and pitch."),
    Engine("hpss", "hpss", "Takes tones and beats apart."),
    Engine("noise-reduce", "noise_reduce", "Gates noise by its spectrum."),
    Engine("metadata", "metadata", "Reads and writes tags.", libraries=("mutagen",)),
)
