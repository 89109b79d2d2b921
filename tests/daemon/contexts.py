"""A worker's context without a worker."""

from daemon.settings import Settings
from daemon.shelves import shelf_of


class Here:
    """What a running job may ask of its worker; notes what it says."""

    lane = "cpu"
    recall = None

    def __init__(self, folder, lane="cpu", **settings):
        self.lane = lane
        self.scratch = folder / "scratch"
        self.scratch.mkdir(exist_ok=True)
        self.settings = Settings(data_dir=folder, **settings)
        self.shelf = shelf_of(self.settings, "cpu")
        self.told = []
        self.intents = []
        self.results = {}

    def progress(self, fraction, step):
        self.told.append((fraction, step))

    def result_of(self, job):
        return self.results.get(job)

    def intend(self, intent):
        self.intents.append(intent)
        return []
