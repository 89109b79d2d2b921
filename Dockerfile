# audiolla on the CPU. Build: docker build -t audiolla .   Run:
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#       -p 127.0.0.1:8000:8000 -v audiolla:/data audiolla
FROM python:3.11-slim-bookworm

# Codecs come inside the Python packages; Chromaprint, for fingerprints, and FluidSynth and its
# instruments, for MIDI, come in none.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        libchromaprint1 libfluidsynth3 fluid-soundfont-gm \
    && rm -rf /var/lib/apt/lists/*

# The Python packages first: they change least.
WORKDIR /opt/audiolla
COPY requirements/base.txt requirements/engines.txt requirements/
# Built with --build-arg ENGINES=1, the image can run the neural engines, on the processor.
ARG ENGINES=
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: \
        -r requirements/base.txt ${ENGINES:+-r requirements/engines.txt} \
    && if [ -n "$ENGINES" ]; then \
        /opt/venv/bin/pip install --no-cache-dir torch==2.13.0 \
            --index-url https://download.pytorch.org/whl/cpu; fi
COPY pyproject.toml README.md LICENSE ./
COPY handlers handlers
COPY rules rules
COPY control_api control_api
COPY daemon daemon
COPY inbox_examples inbox_examples
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --no-index --editable . \
    && useradd --system --uid 10001 --home-dir /data audiolla \
    && install -d -o audiolla -g audiolla /data

# Kernels are compiled for the processor that they run on, so their cache lies in the volume.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/data/kernels \
    AUDIOLLA_DATA_DIR=/data \
    AUDIOLLA_HOST=0.0.0.0
USER audiolla
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["audiolla"]
CMD ["serve"]
