import logging

import pytest

from daemon.presetfiles import PresetShelf
from daemon.settings import load

TEXT = "name: {name}\ndescription: {said}\nsteps: [reverse]\n"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


@pytest.fixture
def shelf(folder, tmp_path):
    return PresetShelf(load({"AUDIOLLA_PRESETS_DIR": str(folder)}, data_dir=tmp_path))


def put(folder, file, name, said=""):
    (folder / file).write_text(TEXT.format(name=name, said=said or '""'))


def names(shelf):
    return [preset.name for preset in shelf.all()]


SHIPPED = ["master-for-spotify", "podcast-cleanup", "vocal-cleanup"]


def test_presets_of_ones_own_lie_beside_those_shipped(shelf, folder):
    put(folder, "a.yaml", "zing")
    put(folder, "b.yml", "attic")
    put(folder, "c.txt", "no preset")
    assert names(shelf) == ["attic", *SHIPPED, "zing"]


def test_without_a_folder_there_are_those_shipped(tmp_path):
    assert names(PresetShelf(load({}, data_dir=tmp_path))) == SHIPPED


def test_the_first_of_two_equal_names_wins(shelf, folder):
    put(folder, "2.yaml", "twin", "second")
    put(folder, "1.yaml", "twin", "first")
    put(folder, "3.yaml", "vocal-cleanup", "mine")
    assert shelf.find("twin").description == "first"
    assert shelf.find("vocal-cleanup").description == "mine"


def test_a_malformed_file_is_skipped_with_one_warning(shelf, folder, caplog):
    (folder / "broken.yaml").write_text("name: [")
    with caplog.at_level(logging.WARNING):
        assert names(shelf) == SHIPPED
        assert names(shelf) == SHIPPED
    (record,) = caplog.records
    assert "broken.yaml" in record.getMessage()


def test_a_step_that_cannot_run_is_warned_of(shelf, folder, caplog):
    (folder / "odd.yaml").write_text("name: odd\nsteps: [none]")
    assert "odd" in names(shelf)
    assert "unknown op 'none'" in caplog.text


def test_a_file_that_others_may_write_is_not_believed(shelf, folder, caplog):
    put(folder, "a.yaml", "free")
    (folder / "a.yaml").chmod(0o666)
    assert names(shelf) == SHIPPED
    assert "others may write it" in caplog.text


def test_what_changes_is_read_again(shelf, folder):
    put(folder, "a.yaml", "old")
    assert "old" in names(shelf)
    put(folder, "a.yaml", "newer")
    assert names(shelf) == [*SHIPPED[:1], "newer", *SHIPPED[1:]]
    (folder / "a.yaml").unlink()
    assert names(shelf) == SHIPPED
