"""Servers of the tests' own, well-behaved and otherwise, on addresses of this machine."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections import deque


class Peer:
    """Answers each connection with the next of `answers`, the last one for ever.

    An answer is bytes, or a function of the connected socket. What was asked is in `asked`, as
    `(request line, headers, body)`.
    """

    def __init__(self, *answers, address="127.0.0.1", tls=None):
        self.answers = deque(answers)
        self.asked = []
        self.arrived = threading.Condition()
        self._tls = tls
        self._listener = socket.create_server((address, 0))
        self.address, self.port = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path="/", host=None):
        return f"{'https' if self._tls else 'http'}://{host or self.address}:{self.port}{path}"

    def wait_asked(self, count, seconds=20.0):
        """Wait until so many requests have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.asked) >= count, seconds), self.asked

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw):
        with contextlib.suppress(OSError), raw:
            sock = self._tls.wrap_socket(raw, server_side=True) if self._tls else raw
            with sock, sock.makefile("rb") as stream:
                line = stream.readline().decode().strip()
                headers = {}
                while (text := stream.readline().decode().strip()) != "":
                    name, _, value = text.partition(":")
                    headers[name.lower()] = value.strip()
                with self.arrived:
                    more = len(self.answers) > 1
                    answer = self.answers.popleft() if more else self.answers[0]
                body = b""
                if not callable(answer):
                    body = stream.read(int(headers.get("content-length", 0)))
                with self.arrived:
                    self.asked.append((line, headers, body))
                    self.arrived.notify_all()
                if callable(answer):
                    answer(sock)
                else:
                    sock.sendall(answer)

    def close(self):
        # A plain close leaves the accepting thread with the socket in its hands.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def answer(status=200, body=b"", **headers):
    """A whole HTTP answer."""
    head = {"Content-Length": len(body), **{k.replace("_", "-"): v for k, v in headers.items()}}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{k}: {v}" for k, v in head.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(to, status=302):
    """A redirect."""
    return answer(status, Location=to)


def dripping(data, pause=0.05):
    """Send bytes one by one until the other side has had enough."""
    never = threading.Event()

    def drip(sock):
        for number in range(len(data)):
            sock.sendall(data[number : number + 1])
            never.wait(pause)

    return drip


def endless(head, piece):
    """Send a head, and then the same piece until the other side has had enough."""

    def pour(sock):
        sock.sendall(head)
        while True:
            sock.sendall(piece)

    return pour


def silent(sock):
    """Say nothing until the other side goes."""
    sock.recv(1)


def certificate(folder, name):
    """A server's and a client's TLS context for a host name."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    openssl = shutil.which("openssl")
    assert openssl is not None
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert),
            *("-addext", f"subjectAltName=DNS:{name}"),
        ],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=cert)
