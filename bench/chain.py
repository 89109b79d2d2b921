"""Bench (c): trim, eq, normalize, fade on a stereo file, beside ffmpeg.

Peers do the same four steps on the same file in the same run, alternating:
- processes: one ffmpeg process per step with a 16-bit WAV in between (the
  measuring half of normalize is a process of its own, as it has to be);
- graph twice: one filter graph, run once to measure and once to write;
- graph spool: one filter graph into a float WAV while measuring, then one to write.

    python -m bench.chain [--minutes 3 60] [--rounds 5] [--formats wav mp3]
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

EQ = [(100.0, 3.0, 80.0), (1000.0, -4.0, 500.0), (8000.0, 2.0, 4000.0)]
TARGET = -16.0
RATE = 44100


def main() -> None:
    """Print a table per length and format: seconds, and how many times faster ours is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[3, 60])
    parser.add_argument("--formats", nargs="+", default=["wav", "mp3"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        _report_memory(Path(args.memory_of), args.formats[0])
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        for minutes in args.minutes:
            source = _make_source(Path(folder), minutes)
            rounds = args.rounds if minutes <= 10 else max(1, args.rounds // 4)
            for form in args.formats:
                _compare(source, form, minutes, rounds, Path(folder))
            source.unlink()


def _compare(source: Path, form: str, minutes: float, rounds: int, folder: Path) -> None:
    runs: dict[str, Callable[[], None]] = {
        "audiolla": lambda: _ours(source, form, folder),
        "ffmpeg processes": lambda: _processes(source, form, minutes * 60, folder),
        "ffmpeg graph twice": lambda: _graph_twice(source, form, minutes * 60, folder),
        "ffmpeg graph spool": lambda: _graph_spool(source, form, minutes * 60, folder),
    }
    runs["audiolla"]()  # a worker is warm before its first job
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    base = statistics.median(taken["audiolla"])
    print(f"\n{minutes:g} minutes stereo {RATE} Hz to {form}, {rounds} rounds, median seconds")
    for name, values in taken.items():
        median = statistics.median(values)
        print(f"  {name:20} {median:8.3f} s   {median / base:6.2f} x ours")
    print(f"  peak memory above an idle warm worker: {_memory(source, form):.0f} MB")


def _steps(seconds: float) -> list[dict[str, object]]:
    return [
        {"op": "trim", "params": {"start_sec": 1.0, "end_sec": seconds - 1.0}},
        {
            "op": "eq",
            "params": {"bands": [{"freq": f, "gain_db": g, "width_hz": w} for f, g, w in EQ]},
        },
        {"op": "normalize", "params": {"target_lufs": TARGET, "true_peak_dbtp": None}},
        {"op": "fade", "params": {"fade_in": 2.0, "fade_out": 3.0}},
    ]


def _ours(source: Path, form: str, folder: Path) -> None:
    from daemon.execution import Claim
    from daemon.runner import run
    from daemon.settings import Settings
    from handlers.codecs.formats import Encoding
    from rules.orders import Delivery, Order, SoundRef, StepOrder

    class Here:
        lane = "cpu"
        scratch = folder / "scratch"
        settings = Settings(data_dir=folder)

        def progress(self, fraction: float, step: str) -> None:
            pass

        def intend(self, _: object) -> list[Path]:
            return []

    seconds = _seconds(source)
    order = Order(
        sound=SoundRef(path=source, name=source.name),
        steps=[StepOrder.model_validate(step) for step in _steps(seconds)],
        delivery=Delivery(
            folder=folder / "out",
            name="ours.{ext}",
            conflict="replace",
            encoding=Encoding(format=form),
        ),
    )
    run(Claim(id="bench", attempt=1, order=order.model_dump_json()), Here())


def _processes(source: Path, form: str, seconds: float, folder: Path) -> None:
    one, two, three = (folder / f"step{n}.wav" for n in (1, 2, 3))
    _ffmpeg("-ss", "1", "-to", f"{seconds - 1}", "-i", source, one)
    _ffmpeg("-i", one, "-af", _eq(), two)
    gain = TARGET - _measure("-i", two, "-af", "ebur128=framelog=verbose")
    _ffmpeg("-i", two, "-af", f"volume={gain:.6f}dB", three)
    _ffmpeg("-i", three, "-af", _fade(seconds - 2), *_codec(form), folder / f"peer.{form}")


def _graph_twice(source: Path, form: str, seconds: float, folder: Path) -> None:
    cut = ("-ss", "1", "-to", f"{seconds - 1}", "-i", source)
    gain = TARGET - _measure(*cut, "-af", f"{_eq()},ebur128=framelog=verbose")
    chain = f"{_eq()},volume={gain:.6f}dB,{_fade(seconds - 2)}"
    _ffmpeg(*cut, "-af", chain, *_codec(form), folder / f"peer.{form}")


def _graph_spool(source: Path, form: str, seconds: float, folder: Path) -> None:
    spool = folder / "spool.wav"
    cut = ("-ss", "1", "-to", f"{seconds - 1}", "-i", source)
    measured = _ffmpeg(
        *cut,
        "-filter_complex",
        f"{_eq()},asplit[a][b];[b]ebur128=framelog=verbose[c]",
        *("-map", "[a]", "-c:a", "pcm_f32le", "-rf64", "auto", spool),
        *("-map", "[c]", "-f", "null", "-"),
    )
    gain = TARGET - _integrated(measured)
    chain = f"volume={gain:.6f}dB,{_fade(seconds - 2)}"
    _ffmpeg("-i", spool, "-af", chain, *_codec(form), folder / f"peer.{form}")


def _eq() -> str:
    return ",".join(f"equalizer=f={f}:t=h:w={w}:g={g}" for f, g, w in EQ)


def _fade(seconds: float) -> str:
    return f"afade=t=in:d=2,afade=t=out:st={seconds - 3}:d=3"


def _codec(form: str) -> tuple[str, ...]:
    return ("-b:a", "192k") if form == "mp3" else ()


def _ffmpeg(*args: str | Path) -> str:
    command = ["ffmpeg", "-nostdin", "-y", "-hide_banner", *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr


def _measure(*args: str | Path) -> float:
    return _integrated(_ffmpeg(*args, "-f", "null", "-"))


def _integrated(log: str) -> float:
    return float(re.findall(r"I:\s+(-?[\d.]+) LUFS", log)[-1])


def _make_source(folder: Path, minutes: float) -> Path:
    """Filtered noise bursts over a few tones: something a loudness gate has work with."""
    import numpy as np
    import soundfile

    path = folder / f"source-{minutes:g}.wav"
    random = np.random.default_rng(1)
    second = np.arange(RATE) / RATE
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for at in range(int(minutes * 60)):
            tones = sum(np.sin(2 * np.pi * f * second) for f in (110 + at % 7 * 20, 440, 3000))
            noise = random.standard_normal((RATE, 2)) * 0.05
            file.write(noise + 0.1 * tones[:, None] * (0.2 + 0.8 * (at % 11) / 10))
    return path


def _seconds(source: Path) -> float:
    import soundfile

    return float(soundfile.info(source).duration)


def _memory(source: Path, form: str) -> float:
    """Megabytes above a warm idle worker, in a process of its own."""
    command = [sys.executable, "-m", "bench.chain", "--memory-of", str(source), "--formats", form]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(out)


def _report_memory(source: Path, form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        short = _make_source(Path(folder), 0.1)
        _ours(short, form, Path(folder))
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        idle = _status_mb("VmRSS")
        _ours(source, form, Path(folder))
        print(_status_mb("VmHWM") - idle)


def _status_mb(key: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) / 1024


if __name__ == "__main__":
    main()
