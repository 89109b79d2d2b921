import pytest

from control_api.app import create_app
from tests.control_api.fake import FakeService, api_settings, leaving
from tests.control_api.requests import TestClient


@pytest.fixture
def service(tmp_path):
    return FakeService(tmp_path)


@pytest.fixture
def settings():
    return api_settings(auth_token="", max_upload_bytes=10_000)


@pytest.fixture
def client(service, settings):
    return TestClient(leaving(create_app(service, settings)))
