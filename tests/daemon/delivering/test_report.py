import base64
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from tests.sounds import ffmpeg_loudness

RULES = """
report: true
profile: podcast-apple
rules:
  - name: <b>bold</b>
    steps: [{normalize: {target_lufs: TARGET}}]
"""


class Page(HTMLParser):
    """Its text, its pictures, and whatever it would load from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.text, self.pictures, self.links, self.tags = "", [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name == "src" and value.startswith("data:"):
                kind, data = value.removeprefix("data:").split(";base64,")
                self.pictures.append((kind, base64.b64decode(data)))
            elif name in ("src", "href", "srcset"):
                self.links.append(value)

    def handle_data(self, data):
        self.text += data


def report(shop, name="take.wav"):
    data = json.loads((shop.root / f"reports/{name}.json").read_text())
    text = (shop.root / f"reports/{name}.html").read_text()
    return data, Page(text), text


@pytest.mark.parametrize(("target", "passed"), [(-16, True), (-24, False)])
def test_a_report_judges_the_result_by_the_profile_as_ffmpeg_measures_it(
    shop, take, target, passed
):
    s = shop(RULES.replace("TARGET", str(target)))
    s.deliver("take.wav", take)
    data, page, _ = report(s)

    assert data["passed"] is passed
    loudness = ffmpeg_loudness(s.root / "out/take.wav").integrated
    assert data["outputs"][0]["measured"]["loudness_lufs"] == pytest.approx(loudness, abs=0.15)
    words = "meets" if passed else "does not meet"
    assert f"take.wav {words} Apple Podcasts: {loudness:.1f} LUFS, target -16 LUFS" in page.text


def test_a_page_needs_nothing_but_itself_and_follows_light_and_dark(shop, take):
    s = shop(RULES.replace("TARGET", "-16"))
    s.deliver("take.wav", take)
    _, page, text = report(s)

    assert page.links == []
    assert "url(" not in text
    assert not {"script", "link", "iframe"} & page.tags
    assert "@media (prefers-color-scheme: dark)" in text
    kinds = [kind for kind, _ in page.pictures]
    # Before and after: waveform, loudness, spectrogram.
    assert kinds == 2 * ["image/png", "image/svg+xml", "image/png"]
    for kind, data in page.pictures:
        if kind == "image/png":
            assert data.startswith(b"\x89PNG")
        else:
            assert ET.fromstring(data).tag.endswith("svg")
            assert b"prefers-color-scheme" in data


def test_names_of_users_are_text_and_never_markup(shop, take):
    s = shop(RULES.replace("TARGET", "-16"))
    s.deliver("<img src=x onerror=alert(1)>.wav", take)
    _, page, text = report(s, "<img src=x onerror=alert(1)>.wav")

    assert "b" not in page.tags
    assert page.links == []
    assert "<img src=x" not in page.text.replace("<img src=x onerror=alert(1)>.wav", "")
    assert re.search(r"<h1>&lt;img", text)


def test_a_job_without_a_report_draws_nothing(shop, take):
    s = shop()
    s.deliver("take.wav", take)

    assert not (s.root / "reports").exists()


def test_a_report_on_midi_has_no_pictures_but_is_there(shop):
    from tests.scores import music

    s = shop("report: true\nrules: [{name: up, steps: [midi_humanize]}]")
    s.deliver("tune.mid", music().data)
    data, page, _ = report(s, "tune.mid")

    assert data["input"] is None
    assert page.pictures == []
    assert "out/tune.mid" in page.text
