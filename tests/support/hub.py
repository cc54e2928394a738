"""A server that speaks as much of the Hugging Face Hub's API as publishing and fetching a model take."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

LARGE = 1000  # bytes, from which on a file goes to large file storage


class Hub:
    """Repositories with one branch each; of every commit, its files.

    Attributes:
        commits: of each repository, a list of files by name.
        requests: method and path of all that was asked.
    """

    def __init__(self) -> None:
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.token = "secret"
        routes = [
            Route("/api/repos/create", self._create, methods=["POST"]),
            Route("/api/validate-yaml", self._yaml, methods=["POST"]),
            Route("/api/models/{repo:path}/preupload/{revision}", self._preupload, methods=["POST"]),
            Route("/{repo:path}.git/info/lfs/objects/batch", self._batch, methods=["POST"]),
            Route("/store/{oid}", self._store, methods=["PUT"]),
            Route("/api/models/{repo:path}/commit/{revision}", self._commit, methods=["POST"]),
            Route("/api/models/{repo:path}/revision/{revision}", self._info),
            Route("/{repo:path}/resolve/{revision}/{file}", self._file),
        ]
        self.app = Starlette(routes=routes)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its address, while it runs."""
        server = uvicorn.Server(uvicorn.Config(self.app, port=0, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            pass
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield self.url
        server.should_exit = True
        thread.join()

    def _asked(self, request: Request) -> None:
        self.requests.append(f"{request.method} {request.url.path}")

    def _refused(self, request: Request) -> Response | None:
        self._asked(request)
        if request.headers.get("authorization") == f"Bearer {self.token}":
            return None
        return JSONResponse(
            {"error": "Invalid credentials"}, 401, headers={"X-Error-Code": "", "X-Error-Message": "no"}
        )

    async def _create(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        content = await request.json()
        repo = "/".join(filter(None, (content.get("organization"), content["name"])))
        if repo in self.commits:
            return JSONResponse({"url": f"{self.url}/{repo}"}, 409)
        self.commits[repo] = []
        return JSONResponse({"url": f"{self.url}/{repo}", "name": repo, "id": "1"})

    async def _yaml(self, request: Request) -> Response:
        self._asked(request)
        return JSONResponse({"errors": [], "warnings": []})

    async def _preupload(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        files = (await request.json())["files"]
        modes = {file["path"]: "lfs" if file["size"] >= LARGE else "regular" for file in files}
        listed = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
        return JSONResponse({"files": listed})

    async def _batch(self, request: Request) -> Response:
        self._asked(request)
        objects = (await request.json())["objects"]
        found: list[dict[str, Any]] = [
            {**each, "actions": {"upload": {"href": f"{self.url}/store/{each['oid']}"}}} for each in objects
        ]
        return JSONResponse({"transfer": "basic", "objects": found})

    async def _store(self, request: Request) -> Response:
        self._asked(request)
        self.stored[request.path_params["oid"]] = await request.body()
        return Response()

    async def _commit(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        repo = request.path_params["repo"]
        files = dict(self.commits[repo][-1]) if self.commits[repo] else {}
        for line in (await request.body()).splitlines():
            change = json.loads(line)
            value = change["value"]
            if change["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif change["key"] == "lfsFile":
                files[value["path"]] = self.stored[value["oid"]]
        self.commits[repo].append(files)
        return JSONResponse({"commitUrl": f"{self.url}/{repo}/commit/{self._sha(repo)}", "commitOid": self._sha(repo)})

    def _sha(self, repo: str) -> str:
        return hashlib.sha1(str(len(self.commits[repo])).encode()).hexdigest()

    def _unknown(self, request: Request) -> Response | None:
        self._asked(request)
        if self.commits.get(request.path_params["repo"]):
            return None
        return JSONResponse({"error": "Repository not found"}, 404, headers={"X-Error-Code": "RepoNotFound"})

    async def _info(self, request: Request) -> Response:
        if unknown := self._unknown(request):
            return unknown
        repo = request.path_params["repo"]
        siblings = [{"rfilename": name} for name in self.commits[repo][-1]]
        return JSONResponse({"id": repo, "modelId": repo, "sha": self._sha(repo), "siblings": siblings, "tags": []})

    async def _file(self, request: Request) -> Response:
        if unknown := self._unknown(request):
            return unknown
        repo = request.path_params["repo"]
        content = self.commits[repo][-1][request.path_params["file"]]
        etag = hashlib.sha256(content).hexdigest() if len(content) >= LARGE else hashlib.sha1(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": self._sha(repo), "Content-Length": str(len(content))}
        return Response(content if request.method == "GET" else b"", headers=headers)
