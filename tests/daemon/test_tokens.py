import stat

import pytest

from control_api.scopes import Keys
from daemon.cli import main
from daemon.clock import ManualClock
from daemon.tokens import TokenFile
from handlers.errors import BadParameter


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def file(tmp_path, clock):
    return TokenFile(tmp_path / "tokens.json", clock)


def opens(file, clock, token):
    return Keys("", file.tokens, now=clock.now).holder(f"Bearer {token}")


def test_a_token_opens_until_it_is_revoked(file, clock, tmp_path):
    server = TokenFile(tmp_path / "tokens.json", clock)
    token = file.create("daw", ["run", "read"])
    holder = opens(server, clock, token)

    assert holder.name == "daw"
    assert holder.may("run")
    assert not holder.may("files")
    assert file.revoke("daw")
    assert opens(server, clock, token) is None
    assert opens(server, clock, "") is None
    assert not file.revoke("daw")


def test_only_a_hash_is_kept_and_only_its_owner_may_read_it(file, tmp_path):
    token = file.create("daw", ["run"])
    path = tmp_path / "tokens.json"

    assert token.removeprefix("audiolla_") not in path.read_text()
    assert len(token) > 50
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert file.create("other", ["run"]) != token


def test_a_token_may_end_by_itself(file, clock):
    token = file.create("guest", ["read"], lifetime=60.0)
    clock.advance(59)
    assert opens(file, clock, token)
    clock.advance(2)
    assert opens(file, clock, token) is None


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 65, "ö", "a\nb"])
def test_what_is_no_name_is_refused(file, name):
    with pytest.raises(BadParameter, match="is no name"):
        file.create(name, ["read"])


def test_a_name_is_taken_once(file):
    file.create("daw", ["read"])
    with pytest.raises(BadParameter, match="already"):
        file.create("daw", ["run"])


def test_a_damaged_file_lets_nobody_in(file, clock, tmp_path):
    token = file.create("daw", ["admin"])
    (tmp_path / "tokens.json").write_text('[{"name": 1')
    assert opens(file, clock, token) is None
    assert opens(file, clock, "") is None


def test_the_command_creates_lists_and_revokes(tmp_path, capsys, clock):
    data = ["--data-dir", str(tmp_path)]
    assert main(["token", "create", "nas", "--scope", "read", "--scope", "files", *data]) == 0
    token = capsys.readouterr().out.strip()
    holder = Keys("", TokenFile(tmp_path / "tokens.json").tokens).holder(f"Bearer {token}")
    assert holder.scopes == {"read", "files"}

    assert main(["token", "list", *data]) == 0
    shown = capsys.readouterr().out
    assert "nas" in shown
    assert "read files" in shown
    assert token not in shown
    assert main(["token", "revoke", "nas", *data]) == 0
    assert main(["token", "revoke", "nas", *data]) == 1
    assert main(["token", "create", "nas", "--expires", "soon", *data]) == 2
