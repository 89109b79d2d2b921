from ipaddress import ip_address

import pytest

from daemon.settings import BadSettings, load
from daemon.urls import Policy, check_pattern, is_public, matches, target_of, without_secrets
from handlers.errors import UrlRefused

OPEN = Policy("denylist", (), ("https", "http"))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
        *("192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1"),
        *("239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("198.51.100.1", "203.0.113.1", "192.88.99.1", "192.0.0.8", "192.0.0.170"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:7f00:1"),
        *("64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1"),
        *("fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1", "100::1"),
    ],
)
def test_addresses_that_lead_inside_or_nowhere_are_not_public(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.org/x", "scheme must be https or http, not ftp"),
        ("file:///etc/passwd", "scheme must be"),
        ("//example.org/x", "not missing"),
        ("https://user:secret@example.org/", "user or password"),
        ("https://@example.org/", "user or password"),
        ("https://example.org:0/", "port 0"),
        ("https://example.org:99999/", "cannot be read"),
        ("https://example.org:port/", "cannot be read"),
        ("https:///path", "names no host"),
        ("https://exa mple.org/", "percent-encoded"),
        ("https://example.org/a\nb", "percent-encoded"),
        ("https://example.org\\@evil.org/", "percent-encoded"),
        ("https://münchen.example/", "percent-encoded"),
        ("https://①②⑦.0.0.1/", "percent-encoded"),
        ("https://[::1%25eth0]/", "names no host"),
        ("https://[::1]evil.org/", "names no host|Invalid IPv6"),
        ("https://[not:an:address]/", "names no host|cannot be read"),
        ("https://-.example.org/", "names no host"),
        ("https://a..b/", "names no host"),
        ("https://127.1/", "names no host"),
        ("https://2130706433/", "names no host"),
        ("https://0x7f000001/", "names no host"),
        ("https://0x7f.0.0.1/", "names no host"),
        ("https://0177.0.0.1/", "names no host"),
        ("https://127.0.0.1/", "not public"),
        ("https://127.0.0.1./", "not public"),
        ("https://[::1]/", "not public"),
        ("https://[::ffff:127.0.0.1]/", "not public"),
        ("https://[::ffff:7f00:1]/", "not public"),
        ("https://[0:0:0:0:0:0:0:1]/", "not public"),
        ("https://[64:ff9b::a9fe:a9fe]/", "not public"),
        ("https://169.254.169.254/latest/meta-data", "not public"),
        ("https://0.0.0.0/", "not public"),
        ("https://example.org/" + "x" * 9000, "longer than"),
    ],
)
def test_a_url_that_is_refused_says_why_and_not_its_path(url, reason):
    with pytest.raises(UrlRefused, match=reason) as refused:
        OPEN.check(url)
    assert "passwd" not in refused.value.detail
    assert "secret" not in refused.value.detail


def test_a_url_is_taken_apart_as_it_is_sent():
    target = target_of("HTTPS://Files.Example.ORG.:8443/a%20b?X-Sig=a%2Fb&x#part", ["https"])

    assert (target.scheme, target.host, target.port) == ("https", "files.example.org", 8443)
    assert target.path == "/a%20b?X-Sig=a%2Fb&x"
    assert target.authority == "files.example.org:8443"
    assert target_of("http://[2606:4700::1111]", ["http"]).authority == "[2606:4700::1111]"
    assert target_of("http://x.org?a", ["http"]).path == "/?a"


def test_what_is_logged_and_shown_has_no_secrets():
    target = target_of("https://hooks.example.org/services/T0KEN?sig=abc", ["https"])

    assert target.shown.startswith("https://hooks.example.org (path ")
    assert "T0KEN" not in target.shown
    assert "abc" not in target.shown
    assert (
        without_secrets("https://u:p@bucket.example:9000/out.wav?X-Amz-Signature=abc#f")
        == "https://bucket.example:9000/out.wav"
    )


@pytest.mark.parametrize(
    ("host", "pattern", "expected"),
    [
        ("a.example.org", "*.example.org", True),
        ("a.b.example.org", "*.Example.org", True),
        ("example.org", "*.example.org", False),
        ("badexample.org", "*.example.org", False),
        ("example.org", "Example.ORG.", True),
        ("a.example.org", "example.org", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("::1", "[::1]", True),
    ],
)
def test_patterns_match_at_the_boundary_of_a_label(host, pattern, expected):
    assert matches(host, check_pattern(pattern)) == expected


@pytest.mark.parametrize("pattern", ["*", "*.", "a*", "*.*.org", "https://x.org", "x/y", "", "a b"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(ValueError, match="is no host pattern"):
        check_pattern(pattern)


def test_each_mode_refuses_by_its_own_rule():
    url = "https://files.example.org/x"
    disabled = Policy("disabled", (), ("https",))
    with pytest.raises(UrlRefused, match="AUDIOLLA_FETCH_MODE is disabled"):
        disabled.check(url)
    for hosts, allowed in [(("*.example.org",), True), (("other.org",), False)]:
        allow, deny = Policy("allowlist", hosts, ("https",)), Policy("denylist", hosts, ("https",))
        assert _passes(allow, url) == allowed
        assert _passes(deny, url) != allowed


def test_a_denied_address_is_denied_under_any_name():
    policy = Policy("denylist", ("8.8.8.8",), ("https",))
    target = policy.check("https://some.name/")

    policy.check_address(target, ip_address("8.8.4.4"))
    for spelling in ("8.8.8.8", "::ffff:8.8.8.8"):
        with pytest.raises(UrlRefused, match="AUDIOLLA_FETCH_HOSTS"):
            policy.check_address(target, ip_address(spelling))


def test_private_addresses_need_the_setting():
    private = Policy("denylist", (), ("http",), allow_private=True)

    assert private.check("http://127.0.0.1:9000/x").port == 9000
    assert _passes(private, "http://[::1]/")


def _passes(policy, url):
    try:
        policy.check(url)
    except UrlRefused:
        return False
    return True


def test_settings_are_read_as_the_contract_has_them():
    settings = load(
        {
            "AUDIOLLA_FETCH_MODE": "allowlist",
            "AUDIOLLA_FETCH_HOSTS": "*.S3.amazonaws.com, files.example.org",
            "AUDIOLLA_FETCH_SCHEMES": "https,http",
            "AUDIOLLA_FETCH_ALLOW_PRIVATE": "on",
            "AUDIOLLA_FETCH_TIMEOUT": "1m30s",
        }
    )
    assert settings.fetch_hosts == ["*.s3.amazonaws.com", "files.example.org"]
    assert settings.fetch_schemes == ["https", "http"]
    assert settings.fetch_allow_private is True
    assert settings.fetch_timeout == 90
    assert load({}).fetch_mode == "disabled"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AUDIOLLA_FETCH_MODE": "allowlist"}, "needs AUDIOLLA_FETCH_HOSTS"),
        ({"AUDIOLLA_FETCH_MODE": "open"}, "AUDIOLLA_FETCH_MODE = 'open'"),
        ({"AUDIOLLA_FETCH_SCHEMES": "https,gopher"}, "AUDIOLLA_FETCH_SCHEMES"),
        ({"AUDIOLLA_FETCH_HOSTS": "https://x.org"}, "is no host pattern"),
    ],
)
def test_bad_settings_stop_the_start(environment, said):
    with pytest.raises(BadSettings, match=said):
        load(environment)
