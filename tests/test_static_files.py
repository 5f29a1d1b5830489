import pytest
from starlette.testclient import TestClient

from aigateway.static_files import application


@pytest.fixture
def client() -> TestClient:
    """Ask the application directly."""
    return TestClient(application, base_url="https://gateway.test")


@pytest.mark.parametrize(
    "path",
    [
        "/static/nothing.css",
        "/static/",
        "/static/admin/",
        "/static/../manage.py",
        "/static/%2e%2e/manage.py",
        "/static/..%2fmanage.py",
        "/static//etc/passwd",
        "/static/%5c..%5cmanage.py",
        "/static/x%00.css",
        "/static/" + "x" * 5000,
    ],
)
def test_nothing_but_files_of_the_static_folders_is_served(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "Traceback" not in response.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_files_are_read_only(client: TestClient, method: str) -> None:
    response = client.request(method, "/static/aigateway.css")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/static/aigateway.css", "text/css"),
        ("/static/favicon.svg", "image/svg+xml"),
        ("/static/admin/css/base.css", "text/css"),
        ("/static/unfold/css/styles.css", "text/css"),
        ("/static/rest_framework/css/default.css", "text/css"),
    ],
)
def test_ours_and_the_libraries_files_are_served_without_a_collect_step(
    client: TestClient, path: str, kind: str
) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith(kind)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "public, max-age=60"
    head = client.head(path)
    assert (head.content, head.headers["Content-Length"]) == (b"", response.headers["Content-Length"])


def test_a_browser_that_has_the_file_is_told_so(client: TestClient) -> None:
    etag = client.get("/static/aigateway.css").headers["ETag"]
    again = client.get("/static/aigateway.css", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["Cache-Control"] == "public, max-age=60"


def test_the_stylesheet_stays_small_and_asks_for_nothing_else(client: TestClient) -> None:
    css = client.get("/static/aigateway.css").text
    assert len(css.encode()) < 15_000
    assert "url(" not in css
    assert "@import" not in css
