"""Bench (f): every operation on a 3-minute stereo file, beside the fastest other way to do it.

    python -m bench.operations [NAME ...] [--seconds 180] [--rounds 5]

One row per operation: how many times faster than realtime ours is, and how many times
faster than the fastest peer (a ratio above 1 means that ours is faster). All ways of a row
are run in turn, round by round, and medians are compared, so that what else the machine
does hits all alike. Two kinds of row:

- file: ours reads and writes 16-bit WAV in this warm process, as a worker does; peers are
  processes that do the same (`ffmpeg`, `sox`);
- memory: float32 samples in, samples out, where the fastest other way is a library.

A peer in brackets does less, or does it worse; it is shown and does not count. SoX's and
FFmpeg's own tempo and pitch repeat and drop pieces of the waveform: of a chord at 1.25 times
the tempo SoX leaves 1.6 dB more chord than garble (ours 42 dB), and loses whole clicks. FFmpeg's
own resampler droops 0.15 to 0.5 dB towards the Nyquist frequency; with soxr it does what we do.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from handlers.artifacts import Audio, Blocks, Result, SoundItem, SourceFile
from handlers.declare import Operation
from handlers.hearing import Heard
from handlers.registry import operations

RATE = 44100

#: A command takes the place of a peer with `{in}`, `{second}`, `{room}` and `{out}` filled in.
Peer = Sequence[str] | Callable[["Bench"], Callable[[], Any]]


def ffmpeg(*options: str) -> Sequence[str]:
    """`ffmpeg -i {in} OPTIONS {out}`."""
    return ("ffmpeg", "-v", "error", "-y", "-i", "{in}", *options, "{out}")


def ffmpeg_two(second: str, graph: str) -> Sequence[str]:
    """A filter graph over two files."""
    return (
        *("ffmpeg", "-v", "error", "-y", "-i", "{in}", "-i", second),
        *("-filter_complex", graph, "{out}"),
    )


def sox(*effect: str) -> Sequence[str]:
    """`sox {in} {out} EFFECT`."""
    return ("sox", "-V1", "{in}", "{out}", *effect)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    op: str
    params: Mapping[str, Any]
    #: By name; a name in brackets is shown and does not count.
    peers: Mapping[str, Peer] = field(default_factory=dict)
    #: Input name to one of the files `second` and `room`.
    further: Mapping[str, str] = field(default_factory=dict)
    #: Input name to the files of a list.
    items: Mapping[str, Sequence[str]] = field(default_factory=dict)
    label: str = ""

    @property
    def name(self) -> str:
        """The operation, and which of its rows this is."""
        return f"{self.op} {self.label}".rstrip()


BANDS = [
    {"freq": 100.0, "gain_db": 3.0, "width_hz": 80.0},
    {"freq": 1000.0, "gain_db": -4.0, "width_hz": 500.0},
    {"freq": 8000.0, "gain_db": 2.0, "width_hz": 4000.0},
]
THREE_BANDS = [
    {"threshold_db": -24.0, "ratio": 3.0},
    {"threshold_db": -20.0, "ratio": 2.5},
    {"threshold_db": -18.0, "ratio": 2.0},
]
CHAIN = [
    {"type": "HighpassFilter", "params": {"cutoff_frequency_hz": 80}},
    {"type": "Compressor", "params": {"threshold_db": -18, "ratio": 3}},
    {"type": "Reverb", "params": {"room_size": 0.3}},
]


def pedalboard_chain(bench: Bench) -> Callable[[], Any]:
    """`CHAIN` as one board over the whole sound."""
    import pedalboard

    def run() -> Any:
        effects = [getattr(pedalboard, e["type"])(**e["params"]) for e in CHAIN]
        return pedalboard.Pedalboard(effects)(bench.audio.samples, RATE)

    return run


def pedalboard_room(bench: Bench) -> Callable[[], Any]:
    """Its convolution over the whole sound."""
    import pedalboard

    room = soundfile.read(bench.files["room"], dtype="float32", always_2d=True)[0].T
    return lambda: pedalboard.Convolution(room.copy(), 0.3, RATE)(bench.audio.samples, RATE)


def signalsmith(tempo: float, semitones: float) -> Peer:
    """Signalsmith Stretch over the whole sound."""

    def prepared(bench: Bench) -> Callable[[], Any]:
        import python_stretch

        def run() -> Any:
            stretch = python_stretch.Signalsmith.Stretch(1)
            stretch.preset(2, RATE)
            stretch.setTimeFactor(tempo)
            stretch.setTransposeSemitones(semitones)
            return stretch.process(bench.audio.samples)

        return run

    return prepared


def noisereduce(bench: Bench) -> Callable[[], Any]:
    """The package as it comes."""
    import noisereduce

    return lambda: noisereduce.reduce_noise(bench.audio.samples, RATE)


def librosa_hpss(bench: Bench) -> Callable[[], Any]:
    """Spectra, medians and back, channel by channel."""
    import librosa

    def run() -> Any:
        for row in bench.audio.samples:
            for part in librosa.decompose.hpss(librosa.stft(row)):
                librosa.istft(part, length=row.size)

    return run


def librosa_rms(bench: Bench) -> Callable[[], Any]:
    """Level of each hop, from frames as long as the hop."""
    import librosa

    samples = bench.audio.samples
    return lambda: librosa.feature.rms(y=samples, frame_length=512, hop_length=512, center=False)


def numpy_correlation(bench: Bench) -> Callable[[], Any]:
    """Correlation, mid and side of the whole sound."""

    def run() -> Any:
        left, right = bench.audio.samples
        mid, side = (left + right) / 2, (left - right) / 2
        levels = [np.sqrt(np.mean(np.square(x))) for x in (left, right, mid, side)]
        return np.corrcoef(left, right)[0, 1], levels

    return run


def silero(bench: Bench) -> Callable[[], Any]:
    """The package's way: resample, then its model frame by frame (without torch)."""
    from importlib.util import find_spec

    import onnxruntime
    import soxr

    found = find_spec("silero_vad")
    assert found is not None
    assert found.submodule_search_locations
    path = Path(found.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = onnxruntime.InferenceSession(str(path), options)

    def run() -> Any:
        mono = soxr.resample(bench.audio.samples.mean(axis=0), RATE, 16000)
        frames = mono[: mono.size // 512 * 512].reshape(-1, 512)
        state, context = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32)
        rate, found = np.array(16000), []
        for frame in frames:
            given = {"input": np.concatenate((context, frame))[None], "state": state, "sr": rate}
            out, state = model.run(None, given)
            found.append(out)
            context = frame[-64:]
        return found

    return run


def librosa_heard(bench: Bench) -> Any:
    """The sound as `librosa.load` gives it: mono at 22,050 Hz."""
    import librosa

    return librosa.resample(librosa.to_mono(bench.audio.samples), orig_sr=RATE, target_sr=22050)


def librosa_beats(bench: Bench) -> Callable[[], Any]:
    """Its beat tracker, as it comes."""
    import librosa

    return lambda: librosa.beat.beat_track(y=librosa_heard(bench))


def librosa_onsets(bench: Bench) -> Callable[[], Any]:
    """Its onset detector, as it comes."""
    import librosa

    return lambda: librosa.onset.onset_detect(y=librosa_heard(bench))


def librosa_match(bench: Bench) -> Callable[[], Any]:
    """Its beat tracker, then Signalsmith Stretch."""
    import python_stretch

    beats = librosa_beats(bench)

    def run() -> Any:
        tempo = float(np.atleast_1d(beats()[0])[0])
        stretch = python_stretch.Signalsmith.Stretch(1)
        stretch.preset(2, RATE)
        stretch.setTimeFactor(126 / tempo)
        return stretch.process(bench.audio.samples)

    return run


def librosa_key(bench: Bench) -> Callable[[], Any]:
    """Its constant-Q chroma against Krumhansl's profiles."""
    import librosa

    from bench.accuracy.tonal import KRUMHANSL

    def run() -> Any:
        chroma = librosa.feature.chroma_cqt(y=librosa_heard(bench)).mean(axis=1)
        return [
            np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]
            for profile in KRUMHANSL.values()
            for tonic in range(12)
        ]

    return run


def librosa_figures(*figures: str) -> Peer:
    """Tempo, key and what else is named, as librosa has it; it has no loudness."""

    def prepared(bench: Bench) -> Callable[[], Any]:
        import librosa

        beats, key = librosa_beats(bench), librosa_key(bench)
        ways = [getattr(librosa.feature, name) for name in figures]

        def run() -> Any:
            samples = librosa_heard(bench)
            return beats(), key(), [way(y=samples).mean() for way in ways]

        return run

    return prepared


def librosa_chords(bench: Bench) -> Callable[[], Any]:
    """Its constant-Q chroma, filtered, against triads, and the key."""
    import librosa

    key = librosa_key(bench)

    def run() -> Any:
        chroma = librosa.feature.chroma_cqt(y=librosa_heard(bench))
        likes = librosa.decompose.nn_filter(chroma, aggregate=np.median, metric="cosine")
        return likes.argmax(axis=0), key()

    return run


def librosa_melody(bench: Bench) -> Callable[[], Any]:
    """Its `yin`, which says nothing of what is voiced (its `pyin` takes a minute)."""
    import librosa

    return lambda: librosa.yin(librosa_heard(bench), fmin=65, fmax=2093)


def librosa_parts(bench: Bench) -> Callable[[], Any]:
    """Beat-synchronous chroma and MFCC, clustered agglomeratively."""
    import librosa

    def run() -> Any:
        samples = librosa_heard(bench)
        _, beats = librosa.beat.beat_track(y=samples)
        chroma = librosa.feature.chroma_cqt(y=samples)
        both = np.vstack((librosa.feature.mfcc(y=samples), chroma))
        return librosa.segment.agglomerative(librosa.util.sync(both, beats), 6)

    return run


def librosa_transposed(bench: Bench) -> Callable[[], Any]:
    """The key by librosa, the sound transposed by Signalsmith Stretch."""
    key, shift = librosa_key(bench), signalsmith(1, 3)
    assert callable(shift)
    shifted = shift(bench)

    def run() -> Any:
        return key(), shifted()

    return run


def librosa_retuned(bench: Bench) -> Callable[[], Any]:
    """One pitch for all by `yin`, one shift for all by Signalsmith Stretch."""
    import librosa

    shift = signalsmith(1, 0.3)
    assert callable(shift)
    shifted = shift(bench)

    def run() -> Any:
        return librosa.yin(librosa_heard(bench), fmin=65, fmax=2093), shifted()

    return run


def librosa_loops(bench: Bench) -> Callable[[], Any]:
    """Its beats, chroma by beat, and how alike all beats are."""
    import librosa

    def run() -> Any:
        samples = librosa_heard(bench)
        _, beats = librosa.beat.beat_track(y=samples)
        chroma = librosa.util.sync(librosa.feature.chroma_stft(y=samples), beats)
        return librosa.segment.recurrence_matrix(chroma, mode="affinity", sym=True)

    return run


def matchering(bench: Bench) -> Callable[[], Any]:
    """Its stages over the whole sound, its own limiter at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from matchering import Config, stages
    other = soundfile.read(bench.files["second"], dtype="float32", always_2d=True)[0]
    return lambda: stages.main(bench.audio.samples.T.copy(), other, Config())


def ffmpeg_video(graph: str) -> Sequence[str]:
    """Pictures and sound as H.264 and AAC, encoded as ours are."""
    drawn, _, rest = graph.partition(",")
    picture = "fps=30,scale=1280:720,format=yuv420p[v]"
    # The phase meter gives its sound first; it is taken off before the picture goes on.
    whole = f"[0:a]{drawn}[p];[p]{picture};{rest}" if rest else f"[0:a]{drawn},{picture}"
    return (
        *("ffmpeg", "-v", "error", "-y", "-i", "{in}", "-filter_complex", whole),
        *("-map", "[v]", "-map", "0:a", "-c:v", "libx264", "-preset", "veryfast", "-crf", "22"),
        *("-x264-params", "mbtree=0", "-c:a", "aac", "-b:a", "192k", "{out}.mp4"),
    )


def measured_then_applied(bench: Bench) -> Callable[[], Any]:
    """Two processes: loudness, then the gain that it asks for."""

    def run() -> None:
        measure = ["ffmpeg", "-nostats", "-i", bench.files["in"], "-af", "ebur128", "-f", "null"]
        said = subprocess.run([*measure, "-"], capture_output=True, text=True, check=True).stderr
        loudness = float(said[said.rindex("I:") + 2 :].split()[0])
        bench.command(ffmpeg("-af", f"volume={-16 - loudness}dB"))()

    return run


#: FFmpeg's filters set as ours are, for pictures of 1280x720, 30 a second.
VIDEOS = {
    # On a logarithmic axis, as ours is, or with its own `fps`, FFmpeg 5.1 takes many times as long.
    "spectrum": "showspectrum=s=1280x720:overlap=0.66:slide=scroll:scale=log",
    "waves": "showwaves=s=1280x720:r=30:mode=p2p:draw=full:split_channels=1",
    "cqt": "showcqt=s=1280x720:r=30",
    "freqs": "showfreqs=s=1280x720:r=30:win_size=4096:overlap=0.64:averaging=2",
    "volume": "showvolume=w=1280:h=359:b=1:r=30:f=0.9:dm=1:ds=log",
    "vectorscope": "avectorscope=s=1280x720:r=30:draw=line:scale=sqrt",
    "phasemeter": "aphasemeter=s=1280x720:r=30[a],[a]anullsink",
    "histogram": "ahistogram=s=1280x720:r=30:dmode=separate:scale=log",
}

ROWS = [
    Row("info", {}, {"ffprobe": ("ffprobe", "-v", "error", "-show_streams", "{in}"),
                     "soxi": ("soxi", "{in}")}),
    Row("convert", {"sample_rate": 48000}, {
        "ffmpeg soxr": ffmpeg("-af", "aresample=48000:resampler=soxr"),
        "(ffmpeg)": ffmpeg("-ar", "48000"), "sox": sox("rate", "48000")}),
    Row("trim", {"start_sec": 10.0, "end_sec": 170.0},
        {"ffmpeg": ffmpeg("-ss", "10", "-to", "170"), "sox": sox("trim", "10", "=170")}),
    Row("fade", {"fade_in": 2.0, "fade_out": 3.0},
        {"ffmpeg": ffmpeg("-af", "afade=t=in:d=2,afade=t=out:st=177:d=3"),
         "sox": sox("fade", "t", "2", "-0", "3")}),
    Row("reverse", {}, {"ffmpeg": ffmpeg("-af", "areverse"), "sox": sox("reverse")}),
    Row("eq", {"bands": BANDS},
        {"ffmpeg": ffmpeg("-af", ",".join(
            f"equalizer=f={b['freq']}:t=h:w={b['width_hz']}:g={b['gain_db']}" for b in BANDS)),
         "sox": sox(*(w for b in BANDS for w in
                      ("equalizer", f"{b['freq']}", f"{b['width_hz']}h", f"{b['gain_db']}")))}),
    Row("normalize", {"target_lufs": -16.0, "true_peak_dbtp": None},
        {"ffmpeg twice": measured_then_applied}),
    Row("loudness", {}, {"ffmpeg": (
        "ffmpeg", "-v", "error", "-i", "{in}", "-af", "ebur128=peak=true", "-f", "null", "-")}),
    Row("fingerprint", {"analyze_seconds": 0.0}, {
        # It prints the fingerprint and then, with FFmpeg 5, takes the end of the file for an error.
        "fpcalc": ("sh", "-c", "fpcalc -length 0 $0 || test $? = 3", "{in}"),
        "ffmpeg": ("ffmpeg", "-v", "error", "-y", "-i", "{in}", "-f", "chromaprint", "{out}")}),
    Row("metadata", {}, {"ffprobe": (
        "ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_chapters", "{in}")}),
    Row("metadata", {"tags": {"title": "Night train"}}, {"ffmpeg": (
        "ffmpeg", "-v", "error", "-y", "-i", "{in}", "-c", "copy", "-metadata", "title=Night train",
        "{out}")}, label="write"),
    Row("loudness_curve", {}, {"librosa": librosa_rms}),
    Row("clip_detect", {}, {
        "ffmpeg": ("ffmpeg", "-v", "error", "-i", "{in}", "-af", "ebur128=peak=true",
                   "-f", "null", "-"),
        "(ffmpeg astats)": ("ffmpeg", "-v", "error", "-i", "{in}", "-af", "astats",
                            "-f", "null", "-")}),
    Row("stereo_field", {}, {"numpy": numpy_correlation}),
    Row("silence", {}, {
        "ffmpeg": ("ffmpeg", "-v", "error", "-i", "{in}", "-af", "silencedetect=n=-30dB:d=0.5",
                   "-f", "null", "-")}),
    Row("silence", {"trim_mode": "all", "threshold_db": -40.0}, {
        "ffmpeg": ffmpeg("-af", "silenceremove=start_periods=1:start_threshold=-40dB:"
                         "stop_periods=-1:stop_threshold=-40dB:stop_duration=0.5:detection=peak"),
        "sox": sox("silence", "1", "0.01", "1%", "-1", "0.5", "1%")}, label="trim"),
    Row("split", {"mode": "silence", "threshold_db": -40.0}, {
        "sox": sox("silence", "1", "0.01", "1%", "1", "0.5", "1%", ":", "newfile", ":",
                   "restart")}, label="silence"),
    Row("beats", {}, {"librosa": librosa_beats}),
    Row("onsets", {}, {"librosa": librosa_onsets}),
    Row("analyze", {}, {
        "librosa": librosa_figures("spectral_centroid", "rms", "zero_crossing_rate")}),
    Row("dj_prep", {}, {"librosa": librosa_figures()}),
    Row("chords", {}, {"librosa": librosa_chords}),
    Row("chords_to_midi", {}, {"librosa": librosa_chords}),
    Row("melody", {}, {"(librosa yin)": librosa_melody}),
    Row("segments", {}, {"librosa": librosa_parts}),
    Row("key_match", {"target_key": "D#"}, {"librosa, signalsmith": librosa_transposed}),
    Row("pitch_correct", {}, {"librosa yin, signalsmith": librosa_retuned}),
    Row("beat_slice", {}, {"librosa": librosa_beats}),
    Row("thumbnail", {}, {"librosa": librosa_onsets}),
    Row("loop_point", {}, {"librosa": librosa_loops}),
    Row("bpm_match", {"target_bpm": 126.0}, {"librosa, signalsmith": librosa_match}),
    Row("vad", {}, {"silero by frame": silero}),
    Row("waveform", {}, {"ffmpeg": (
        "ffmpeg", "-v", "error", "-y", "-i", "{in}", "-filter_complex",
        "showwavespic=s=1280x720:colors=lime", "-frames:v", "1", "{out}.png")}),
    Row("spectrogram", {}, {
        "sox": ("sox", "-V1", "{in}", "-n", "spectrogram", "-x", "1280", "-y", "513", "-o",
                "{out}.png"),
        "ffmpeg": ("ffmpeg", "-v", "error", "-y", "-i", "{in}", "-filter_complex",
                   "showspectrumpic=s=1280x720:scale=log", "-frames:v", "1", "{out}.png")}),
    *(Row("video", {"mode": mode}, {"ffmpeg": ffmpeg_video(graph)}, label=mode)
      for mode, graph in VIDEOS.items()),
    Row("mix", {}, {"ffmpeg": ffmpeg_two("{second}", "amix=inputs=2:normalize=0"),
                    "sox": ("sox", "-V1", "-m", "{in}", "{second}", "{out}")},
        items={"tracks": ("in", "second")}),
    Row("concat", {}, {"ffmpeg": ffmpeg_two("{second}", "concat=n=2:v=0:a=1"),
                       "sox": ("sox", "-V1", "{in}", "{second}", "{out}")},
        items={"files": ("in", "second")}),
    Row("loop", {"count": 2}, {
        "ffmpeg": ("ffmpeg", "-v", "error", "-y", "-stream_loop", "1", "-i", "{in}", "{out}"),
        "sox": sox("repeat", "1")}),
    Row("split", {"mode": "equal", "count": 3}, {
        "ffmpeg": ("ffmpeg", "-v", "error", "-y", "-i", "{in}", "-f", "segment", "-segment_time",
                   "60", "{out}%d.wav"),
        "sox": sox("trim", "0", "60", ":", "newfile", ":", "restart")}),
    Row("pan", {"position": 0.5}, {"ffmpeg": ffmpeg("-af", "pan=stereo|c0=0.5*c0|c1=c1+0.5*c0"),
                                   "sox": sox("remix", "1v0.5", "2v1,1v0.5")}),
    Row("stereo_width", {"width": 1.5}, {"ffmpeg": ffmpeg("-af", "extrastereo=m=1.5:c=0"),
                                         "sox": sox("remix", "1v1.25,2v-0.25", "2v1.25,1v-0.25")}),
    Row("mid_side", {"mode": "encode"},
        {"ffmpeg": ffmpeg("-af", "pan=stereo|c0=0.5*c0+0.5*c1|c1=0.5*c0-0.5*c1"),
         "sox": sox("remix", "1v0.5,2v0.5", "1v0.5,2v-0.5")}),
    Row("multiband_compress", {"crossovers_hz": [200, 3000], "bands": THREE_BANDS}, {
        "sox": sox("mcompand", "0.01,0.1 -60,-60,-24,-24,0,-16", "200",
                   "0.01,0.1 -60,-60,-20,-20,0,-12", "3000", "0.01,0.1 -60,-60,-18,-18,0,-9"),
        "ffmpeg": ffmpeg_two("{in}", (
            "[0]acrossover=split=200 3000[a][b][c];[a]acompressor=threshold=0.063:ratio=3[x];"
            "[b]acompressor=threshold=0.1:ratio=2.5[y];[c]acompressor=threshold=0.126:ratio=2[z];"
            "[x][y][z]amix=inputs=3:normalize=0"))}),
    Row("transient", {"attack_gain_db": 6.0, "sustain_gain_db": -6.0},
        {"(sox compand)": sox("compand", "0.005,0.1", "6:-60,-60,-20,-20,0,-10")}),
    Row("sidechain_duck", {}, {"ffmpeg": ffmpeg_two(
        "{second}", "sidechaincompress=threshold=0.1:ratio=4:attack=10:release=200")},
        further={"trigger_file": "second"}),
    Row("deess", {}, {"ffmpeg": ffmpeg("-af", "deesser=i=0.5:m=0.5:f=0.5")}),
    Row("repair", {}, {"ffmpeg": ffmpeg("-af", "adeclip")}, label="declip"),
    Row("repair", {"declip": False, "dehum": True},
        {"ffmpeg": ffmpeg("-af", ",".join(f"bandreject=f={50 * k}:t=q:w=30" for k in (1, 2, 3, 4))),
         "sox": sox(*(w for k in (1, 2, 3, 4) for w in ("bandreject", f"{50 * k}", "30q")))},
        label="dehum"),
    Row("conv_reverb", {"wet_mix": 0.3}, {"ffmpeg": ffmpeg_two("{room}", "afir=dry=7:wet=3")},
        further={"ir_file": "room"}),
    Row("conv_reverb", {"wet_mix": 0.3}, {"pedalboard": pedalboard_room},
        further={"ir_file": "room"}, label="in memory"),
    Row("transform", {"operations": [
        {"op": "equalizer", "params": {"frequency": 1000, "gain_db": 3}}, {"op": "compand"},
        {"op": "reverb"}]},
        {"sox": sox("equalizer", "1000", "1q", "3", "compand", "0.02,0.2",
                    "6:-70,-70,-30,-30,-20,-15,0,-10", "reverb")}),
    Row("transform", {"operations": [
        {"op": "trim", "params": {"start_time": 5}}, {"op": "gain", "params": {"db": -3}},
        {"op": "rate", "params": {"samplerate": 48000}}]},
        {"sox": sox("trim", "5", "gain", "-3", "rate", "48000")}, label="trim, gain, rate"),
    Row("fx", {"effects": CHAIN}, {"pedalboard": pedalboard_chain}),
    Row("speed", {"speed": 1.25}, {"signalsmith": signalsmith(1.25, 0)}),
    Row("speed", {"speed": 1.25}, {
        "ffmpeg rubberband": ffmpeg("-af", "rubberband=tempo=1.25"),
        "(sox)": sox("tempo", "-m", "1.25"), "(ffmpeg atempo)": ffmpeg("-af", "atempo=1.25")},
        label="to a file"),
    Row("stretch", {"pitch_semitones": 3.0}, {"signalsmith": signalsmith(1, 3)}),
    Row("stretch", {"pitch_semitones": 3.0}, {
        "ffmpeg rubberband": ffmpeg("-af", "rubberband=pitch=1.1892"),
        "(sox)": sox("pitch", "300")}, label="to a file"),
    Row("noise_reduce", {}, {"noisereduce": noisereduce}),
    Row("hpss", {}, {"librosa": librosa_hpss}),
    Row("master", {}, {"matchering": matchering}, further={"reference": "second"},
        label="reference"),
    Row("master", {"preset": "transparent"}, {"ffmpeg": ffmpeg(
        "-af", "highpass=f=20,acompressor=threshold=0.16:ratio=1.5:attack=30:release=250,"
        "loudnorm=I=-14:TP=-1", "-ar", "44100")}, label="chain"),
]  # fmt: skip


class Bench:
    """The files of one run, and what runs over them."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.seconds = seconds
        self.files = {name: str(folder / f"{name}.wav") for name in ("in", "second", "room", "out")}
        frames = round(seconds * RATE)
        soundfile.write(self.files["in"], _music(1, frames).T, RATE, subtype="PCM_16")
        soundfile.write(self.files["second"], _music(2, frames).T, RATE, subtype="PCM_16")
        fall = np.exp(-np.arange(RATE) / (0.15 * RATE))
        room = np.random.default_rng(3).standard_normal((2, RATE)) * fall * 0.02
        soundfile.write(self.files["room"], room.T, RATE, subtype="FLOAT")
        samples, _ = soundfile.read(self.files["in"], dtype="float32", always_2d=True)
        self.audio = Audio(np.ascontiguousarray(samples.T), RATE)

    def command(self, peer: Sequence[str]) -> Callable[[], None]:
        """A process with its files filled in."""
        words = [_filled(word, self.files) for word in peer]
        null = subprocess.DEVNULL
        return lambda: subprocess.run(words, check=True, stdout=null, stderr=null) and None

    def _room(self) -> Path:
        return Path(self.files["out"]).parent

    def ours(self, op: Operation, row: Row, *, files: bool) -> Callable[[], None]:
        """The operation, from a file to a file or from samples to samples."""
        from handlers.codecs.formats import Encoding
        from handlers.codecs.reader import open_sound
        from handlers.codecs.writer import write_sound

        params = op.read_params(row.params, strict=True)

        def run() -> None:
            call: dict[str, Any] = {op.params_name: params} if op.params_name else {}
            for declared in op.inputs:
                name = row.further.get(declared.name)
                if declared.kind == "file":
                    source = open_sound(self.files["in"])
                    assert source.facts.file is not None
                    call[declared.name] = SourceFile(source.facts.file, source, self._room)
                    continue
                if declared is op.sound:
                    sound = open_sound(self.files["in"]) if files else self.audio.blocks()
                elif declared.item is not None and declared.name in row.items:
                    call[declared.name] = [
                        _opened(declared.item, open_sound(self.files[file]))
                        for file in row.items[declared.name]
                    ]
                    continue
                else:
                    sound = None if name is None else open_sound(self.files[name])
                whole = declared.kind == "audio" and sound is not None
                listens = declared.kind == "heard" and sound is not None
                call[declared.name] = sound.whole() if whole else Heard(sound) if listens else sound
            if op.wants_progress:
                call["progress"] = _unheard
            if op.lent:
                # Engines with weights are measured in bench.engines.
                call[op.lent] = None
            if op.wants_scratch:
                call["scratch"] = lambda: Path(self.files["out"]).parent
            for made in _sounds(op.func(**call)):
                if files:
                    write_sound(made, self.files["out"], Encoding())
                else:
                    for _ in made:
                        pass

        return run


def _unheard(_fraction: float) -> None:
    """Progress that nobody watches."""


def _opened(item: type[SoundItem], sound: Blocks) -> SoundItem:
    return item().opened(sound)


def _sounds(result: Any) -> Iterator[Blocks]:
    made = [part for _, part in result.artifacts()] if isinstance(result, Result) else [result]
    for part in made:
        if isinstance(part, Blocks | Audio):
            yield part.blocks() if isinstance(part, Audio) else part


def _filled(word: str, files: Mapping[str, str]) -> str:
    for name, path in files.items():
        word = word.replace("{" + name + "}", path)
    return word


def _music(seed: int, frames: int) -> np.ndarray:
    """Chords, a beat and some air: neither all tone nor all noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames) / RATE
    tones = sum(np.sin(2 * np.pi * f * t + p) / k
                for k, (f, p) in enumerate(zip((110, 220, 277.2, 329.6), rng.uniform(0, 6, 4),
                                               strict=True), start=1))  # fmt: skip
    beat = rng.standard_normal(frames) * np.exp(-(t % 0.5) / 0.05)
    air = rng.standard_normal((2, frames)) * 0.02
    mixed = (0.15 * tones * (1 + np.sin(2 * np.pi * 0.2 * t)) / 2 + 0.15 * beat) + air
    return np.clip(mixed * [[1.0], [0.8]], -0.99, 0.99).astype(np.float32)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these operations")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"{args.seconds:g} s of stereo at {RATE} Hz, medians of {args.rounds} rounds")
    print(f"{'operation':28}{'x realtime':>11}{'ratio':>8}   peers, x realtime")
    ratios = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        bench = Bench(Path(folder), args.seconds)
        for row in ROWS:
            if args.names and row.op not in args.names:
                continue
            if row.op not in operations():
                print(f"{row.name:28}{'not here':>11}", flush=True)
                continue
            ratio = _measured(bench, row, args.rounds)
            if ratio is not None:
                ratios.append(ratio)
    if ratios:
        mean = math.exp(statistics.fmean(math.log(ratio) for ratio in ratios))
        print(f"geometric mean of {len(ratios)} ratios {mean:.2f}; least {min(ratios):.2f}")


def _measured(bench: Bench, row: Row, rounds: int) -> float | None:
    files = not row.peers or any(
        not callable(peer) or peer is measured_then_applied for peer in row.peers.values()
    )
    ways: dict[str, Callable[[], Any]] = {"": bench.ours(operations()[row.op], row, files=files)}
    absent = []
    for name, peer in row.peers.items():
        try:
            ways[name] = peer(bench) if callable(peer) else bench.command(peer)
            ways[name]()  # what is imported or cached at the first call is not counted
        except ModuleNotFoundError as missing:
            ways.pop(name, None)
            absent.append(f"{name}: {missing.name} is not installed")
    ways[""]()  # a worker is warm before its first job
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    counted = [m for name, m in medians.items() if name and not name.startswith("(")]
    ratio = min(counted) / medians[""] if counted else None
    peers = ", ".join([*(f"{n} {bench.seconds / m:.0f}" for n, m in medians.items() if n), *absent])
    shown = f"{ratio:8.2f}" if ratio else f"{'-':>8}"
    print(f"{row.name:28}{bench.seconds / medians['']:11.0f}{shown}   {peers}", flush=True)
    return ratio


if __name__ == "__main__":
    main()
