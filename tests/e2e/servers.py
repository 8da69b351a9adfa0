"""The servers that the tests run: each is a child process that listens on free ports of the loopback interface."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
GATEWAY = TARGET / "debug" / "dicomweb-gateway"
WRITE_SAMPLES = TARGET / "debug" / "examples" / "write_samples"
ORTHANC_DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
NGINX = "/usr/sbin/nginx"
CHROMIUM = "/usr/bin/chromium"
OHIF = ROOT / ".cache" / "ohif" / "dist"
SCREENSHOTS = pathlib.Path(os.environ.get("SCREENSHOTS", ROOT / ".cache" / "screenshots"))
VIEWERS = ROOT / "docs" / "viewers.md"
# In seconds. Starting, stopping and responding may take minutes on a busy machine.
START_TIMEOUT = 300
STOP_TIMEOUT = 300


def free_ports(count: int) -> list[int]:
    """Returns different ports that are free."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def documented_block(language: str, replacements: dict[str, str]) -> str:
    """Returns the only code block in `language` in docs/viewers.md, after the replacements."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", VIEWERS.read_text(), re.DOTALL | re.MULTILINE)
    for original, replacement in replacements.items():
        assert original in block, f"the code block does not contain {original}"
        block = block.replace(original, replacement)
    return block


class Server:
    """A child process whose output goes to a file."""

    def __init__(self, name: str, command: list, folder: pathlib.Path, ready: str, environment: dict | None = None):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment
            )
        self._wait_until_ready(ready)

    def _wait_until_ready(self, url: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text(errors='replace')}")
            try:
                if requests.get(url, timeout=300).status_code < 500:
                    return
            except requests.ConnectionError:
                time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"{self.name} does not respond at {url}:\n{self.log.read_text(errors='replace')}")

    def stop(self) -> int:
        """Sends SIGTERM, waits, and returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Orthanc(Server):
    """An empty Orthanc with its DICOMweb plugin, from the packages of Debian."""

    def __init__(self, folder: pathlib.Path, **settings):
        folder.mkdir(parents=True)
        http, dicom = free_ports(2)
        self.url = f"http://127.0.0.1:{http}"
        self.dicomweb = f"{self.url}/dicom-web"
        configuration = folder / "orthanc.json"
        configuration.write_text(json.dumps({
            "Name": "end-to-end",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "Plugins": [ORTHANC_DICOMWEB],
            "HttpPort": http,
            "DicomPort": dicom,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "KeepAlive": True,
            "TcpNoDelay": True,
            # By default this version of Orthanc writes every name in Latin-1 and loses other characters.
            "DefaultEncoding": "Utf8",
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **settings,
        }))
        super().__init__("orthanc", ["Orthanc", configuration], folder, f"{self.url}/system")
        self.version = requests.get(f"{self.url}/system", timeout=300).json()["Version"]

    def store(self, session: requests.Session, content: bytes) -> str:
        """Stores a file. Returns Success, AlreadyStored, or Rejected."""
        response = session.post(f"{self.url}/instances", data=content, headers={"Content-Type": "application/dicom"})
        return response.json()["Status"] if response.status_code == 200 else "Rejected"


class Gateway(Server):
    """A gateway in front of one archive; the other arguments are lines of its configuration."""

    def __init__(self, folder: pathlib.Path, name: str, archive_url: str, server: str = "", archive: str = "", cache: str = "",
                 store: str = "", fhir: str = "", environment: dict | None = None, profile: str = "orthanc"):
        public, admin = free_ports(2)
        self.url = f"http://127.0.0.1:{public}"
        self.admin = f"http://127.0.0.1:{admin}"
        self.fhir = f"{self.url}/fhir"
        self.dicomweb = f"{self.url}/dicom-web/main"
        self.configuration = folder / f"{name}.toml"
        self.configuration.write_text(
            f'[server]\nlisten = "127.0.0.1:{public}"\nadmin_listen = "127.0.0.1:{admin}"\nrequest_timeout = "10m"\n{server.replace("{url}", self.url)}\n'
            f'[auth]\nmode = "open"\n[cache]\n{cache}\n[store]\n{store}\n[fhir]\n{fhir}\n'
            f'[[archive]]\nid = "main"\nname = "Main archive"\nurl = "{archive_url}"\nprofile = "{profile}"\ntimeout = "10m"\n{archive}\n'
        )
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
        command = [GATEWAY, "serve", "--config", self.configuration]
        super().__init__(name, command, folder, f"{self.admin}/readyz", inherited | (environment or {}))


class Nginx(Server):
    """An nginx with one server block, from the package of Debian."""

    def __init__(self, folder: pathlib.Path, server: str, ready: str):
        home = folder / "nginx"
        home.mkdir()
        temp_paths = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        (home / "nginx.conf").write_text(f"""
{user} daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{ access_log off; {temp_paths} server {{ {server} }} }}""")
        super().__init__("nginx", [NGINX, "-p", home, "-c", home / "nginx.conf"], home, ready)

    @staticmethod
    def proxy_location(path: str, upstream: str) -> str:
        """Returns the location block of docs/viewers.md that proxies `path` to a gateway."""
        return documented_block("nginx", {"http://127.0.0.1:8080": upstream, "/pacs": path})


class Ingress(Nginx):
    """An nginx that serves a gateway under a path."""

    def __init__(self, folder: pathlib.Path, path: str, upstream: str):
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}{path}"
        server = f"listen 127.0.0.1:{port}; {self.proxy_location(path, upstream)}"
        super().__init__(folder, server, self.url + "/fhir/metadata")


class Viewer(Nginx):
    """An ingress that serves the files of the viewer, and other locations."""

    def __init__(self, folder: pathlib.Path, root: str, port: int, locations: str = ""):
        folder.mkdir()
        (folder / "app-config.js").write_text(documented_block("js", {"https://gateway.example/dicom-web/main": root}))
        super().__init__(folder, f"""
          listen 127.0.0.1:{port};
          types {{ application/wasm wasm; text/javascript js mjs; text/css css; text/html html; image/svg+xml svg; }}
          add_header Cross-Origin-Opener-Policy same-origin;
          add_header Cross-Origin-Embedder-Policy require-corp;
          location = /app-config.js {{ alias {folder}/app-config.js; }}
          location / {{ root {OHIF}; try_files $uri /index.html; }}
          {locations}""", f"http://127.0.0.1:{port}/app-config.js")
        self.url = f"http://127.0.0.1:{port}/"
