import subprocess

from handlers.pictures.colors import NAMED, color


def test_ffmpeg_knows_the_same_names():
    listed = subprocess.run(
        ["ffmpeg", "-hide_banner", "-colors"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    theirs = {name.lower(): number for name, number in map(str.split, listed)}

    assert len(theirs) == 140
    for name, number in theirs.items():
        assert "#{:02x}{:02x}{:02x}".format(*color(name)) == number.lower()


def test_css_has_148_names_with_both_spellings_of_grey():
    assert len(NAMED) == 148
    greys = [name for name in NAMED if "grey" in name]
    assert len(greys) == 7
    assert all(NAMED[name] == NAMED[name.replace("grey", "gray")] for name in greys)
