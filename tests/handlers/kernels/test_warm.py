import os
import subprocess
import sys
from pathlib import Path

from handlers import kernels


def test_every_kernel_module_is_found_and_compiled():
    kernels.warm_all()
    from handlers.kernels import biquad, limiter, loudness, true_peak

    compiled = (
        biquad.cascade,
        limiter.glide,
        loudness.weighted_energy,
        true_peak.largest,
        true_peak.highest,
        true_peak.envelope,
    )
    assert all(len(kernel.signatures) == 1 for kernel in compiled)


def test_kernels_work_where_nothing_can_be_cached(tmp_path):
    # numba looks for a folder to write to when a kernel is defined, and gives up without one.
    code = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from handlers.kernels.true_peak import largest\n"
        "import numpy as np\n"
        "print(largest(np.array([0.5, -2], np.float32)))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(kernels.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "2.0"
