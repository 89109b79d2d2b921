"""Makes requests as curl makes them."""

from falcon import testing

BOUNDARY = "----audiolla-test"


class TestClient(testing.TestClient):
    """Asks under a name of this machine: others are refused where no token is needed."""

    __test__ = False  # no class of tests, whatever its name

    def __init__(self, app):
        super().__init__(app, headers={"Host": "localhost"})


def multipart(*parts):
    """Arguments for `simulate_post`; a part is `(name, text)` or `(name, filename, data)`."""
    body = b""
    for name, *rest in parts:
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if len(rest) == 2:
            filename, data = rest
            raw = filename if isinstance(filename, bytes) else filename.encode()
            body += b'; filename="' + raw + b'"\r\nContent-Type: application/octet-stream'
        else:
            (data,) = rest
            data = data.encode()
        body += b"\r\n\r\n" + data + b"\r\n"
    body += f"--{BOUNDARY}--\r\n".encode()
    return {
        "body": body,
        "headers": {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    }


def form(text):
    """An urlencoded body."""
    return {"body": text, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
