"""The commands of README.md, run one after the other against a real gateway."""

import re
import subprocess
from pathlib import Path

from tests.aigateway import gateways

MARKED_BLOCK = re.compile(r"^<!-- run -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_first_steps_work_as_written(tmp_path: Path) -> None:
    readme = (gateways.PROJECT / "README.md").read_text()
    blocks = MARKED_BLOCK.findall(readme)
    assert len(blocks) == readme.count("<!-- run -->") > 4
    env = gateways.environment(tmp_path / "data", DJANGO_SUPERUSER_PASSWORD="correct horse battery staple")
    with gateways.serving(tmp_path / "log", env=env) as gateway:
        script = "set -euo pipefail\n" + "\n".join(blocks).replace("http://127.0.0.1:8000", gateway.url())
        done = subprocess.run(
            ["bash", "-c", script],
            env=env,
            cwd=gateways.PROJECT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"status":"not_connected"' in done.stdout.replace(": ", ":")
        assert "the-client-secret-from-github" not in done.stdout + gateway.output


def test_every_door_of_the_makefile_is_in_the_readme() -> None:
    readme = (gateways.PROJECT / "README.md").read_text()
    makefile = (gateways.PROJECT / "Makefile").read_text()
    for door in ("demo", "run", "test", "bench", "check"):
        assert f"make {door}" in readme
        assert re.search(rf"^{door}:", makefile, re.MULTILINE)


def test_the_documents_that_are_linked_exist() -> None:
    for page in [gateways.PROJECT / "README.md", *(gateways.PROJECT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
