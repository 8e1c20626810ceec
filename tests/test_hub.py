"""An exported folder is a repository of Hugging Face Hub: its own client reads the card and uploads the files."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.test_export import FILES, untrained

hub = pytest.importorskip("huggingface_hub")


class Hub(BaseHTTPRequestHandler):
    """The part of the Hub's interface by which files of usual size are committed."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = {}
        if self.path.endswith("/preupload/main"):
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            answer = {"files": [{"shouldIgnore": False, **file} for file in files]}
        elif self.path.endswith("/validate-yaml"):
            self.server.validated = json.loads(body)
            answer = {"errors": [], "warnings": []}
        elif self.path.endswith("/commit/main"):
            lines = [json.loads(line) for line in body.splitlines()]
            self.server.committed = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            answer = {"commitUrl": f"{hub.constants.ENDPOINT}/NAME/MODEL/commit/0", "commitOid": "0"}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Prints nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("options", "task"), [({}, "other"), ({"data": "stacked_digits"}, "unconditional-image-generation")]
)
def test_the_card_has_the_metadata_of_a_model(tmp_path, options, task):
    card = hub.ModelCard.load(untrained(**options).export(tmp_path) / "README.md")
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == ("unknown", "jax", task)
    assert card.data.tags == ["gan", "veegan", "mode-collapse", "stablehlo"]
    assert card.text.startswith("\n# veegan on ")


def test_the_folder_is_uploaded_whole(tmp_path, server):
    folder = untrained().export(tmp_path / "model")
    api = hub.HfApi(endpoint=f"http://127.0.0.1:{server.server_port}", token="hf_token")
    api.upload_folder(repo_id="NAME/MODEL", folder_path=folder)
    assert set(server.committed) == FILES | {"reconstructor.stablehlo"}
    assert server.committed == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert server.validated["content"].startswith("---\nlicense: unknown\n")
