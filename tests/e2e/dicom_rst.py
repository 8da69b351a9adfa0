"""A DICOMweb server with the dialect of DICOM-RST 0.3, in front of an Orthanc: it returns the objects and the rows of Orthanc as DICOM-RST
does (recorded in tests/dialects/dicom-rst).

- Rows have no UIDs of their study and series, RetrieveURL has no value, IS values are padded strings, and person names are not split.
- A list has at most 200 rows. A list of UIDs matches nothing. An unknown or repeated key is rejected.
- The retrieval and the metadata of a series or an instance are those of the whole study. Metadata has no pixel data.
- There are no frames, no bulk data and no rendered images, and a thumbnail redirects to a rendered image.
- A multipart body has always the same boundary, and no line break at its end.
"""

import http.server
import json
import re
import threading
import urllib.parse

import requests
from pydicom.datadict import tag_for_keyword

MAX_ROWS = 200
PARAMETERS = {"limit", "offset", "includefield", "fuzzymatching"}
STUDY_UID, SERIES_UID, RETRIEVE_URL, PIXEL_DATA = "0020000D", "0020000E", "00081190", "7FE00010"
PATH = re.compile(r"/studies(?:/(?P<study>[\d.]+)(?:/series(?:/(?P<series>[\d.]+)(?:/instances(?:/(?P<instance>[\d.]+))?)?)?)?)?(?P<service>/.+)?")


def in_dialect(objects: list[dict], removed: set[str] = frozenset()) -> list[dict]:
    """Returns the DICOM JSON objects as DICOM-RST writes them, without the attributes `removed`."""
    def value(vr: str, original):
        if vr == "IS":
            text = str(original)
            return text + " " * (len(text) % 2)
        if vr == "PN":
            groups = [original.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
            return {"Alphabetic": "=".join(groups).rstrip("=")}
        return in_dialect([original])[0] if vr == "SQ" else original

    def element(tag: str, original: dict) -> dict:
        values = [] if tag == RETRIEVE_URL else [value(original["vr"], one) for one in original.get("Value", []) if one is not None]
        return {"vr": original["vr"], **({"Value": values} if values else {})}

    has_bytes = {"BulkDataURI", "InlineBinary"}
    return [
        {tag: element(tag, original) for tag, original in attributes.items() if tag not in removed and not has_bytes & original.keys()}
        for attributes in objects
    ]


class DicomRst:
    """The server, on a free port, in front of the DICOMweb root `orthanc`. Without `has_metadata` it rejects metadata."""

    def __init__(self, orthanc: str, has_metadata: bool):
        self.orthanc, self.has_metadata = orthanc, has_metadata
        self.requests: list[str] = []
        self.studies: dict[str, bytes] = {}
        archive = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                archive.respond(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def respond(self, request: http.server.BaseHTTPRequestHandler) -> None:
        url = urllib.parse.urlsplit(request.path)
        self.requests.append(url.path)
        match = PATH.fullmatch(url.path)
        if match is None:
            return self.send(request, 404, "text/plain", b"")
        study, service = match["study"], match["service"]
        if service == "/thumbnail":
            request.send_response(303)
            request.send_header("Location", "rendered?")
            request.send_header("Content-Length", "0")
            return request.end_headers()
        if service == "/metadata" and self.has_metadata:
            metadata = requests.get(f"{self.orthanc}/studies/{study}/metadata", timeout=300).json()
            return self.send_rows(request, in_dialect(metadata, {PIXEL_DATA}))
        if service is not None:
            return self.send(request, 501, "text/plain", b"")
        if match["instance"] or (study and not url.path.endswith(("/series", "/instances"))):
            return self.send(request, 200, 'multipart/related; type="application/dicom"; boundary=boundary', self.retrieve(study))
        return self.search(request, url.path, urllib.parse.parse_qsl(url.query, keep_blank_values=True), match)

    def search(self, request, path: str, pairs: list[tuple[str, str]], match: re.Match) -> None:
        names = [name for name, _ in pairs]
        if len(names) != len(set(names)) or any(name not in PARAMETERS and tag_for_keyword(name) is None for name in names):
            return self.send(request, 400, "text/plain", b"unknown or duplicate field")
        query = dict(pairs)
        if any("," in value for name, value in pairs if name.endswith("UID")) or query.get("limit") == "0":
            return self.send_rows(request, [])
        query["limit"] = str(min(int(query.get("limit", MAX_ROWS)), MAX_ROWS))
        # Orthanc does not decode commas.
        text = urllib.parse.urlencode(query, safe=",")
        rows = requests.get(f"{self.orthanc}{path}?{text}", headers={"accept": "application/dicom+json"}, timeout=300).json()
        parents = {STUDY_UID} if match["study"] else set()
        return self.send_rows(request, in_dialect(rows, parents | ({SERIES_UID} if match["series"] else set())))

    def retrieve(self, study: str) -> bytes:
        """Returns the multipart body with all objects of a study."""
        if study not in self.studies:
            response = requests.get(f"{self.orthanc}/studies/{study}", headers={"accept": 'multipart/related; type="application/dicom"'}, timeout=300)
            delimiter = b"--" + re.search(r'boundary="?([^";]+)', response.headers["content-type"])[1].encode()
            parts = [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in response.content.split(delimiter)[1:-1]]
            body = b"".join(b"--boundary\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts)
            self.studies[study] = body + b"--boundary--"
        return self.studies[study]

    def send_rows(self, request, rows: list[dict]) -> None:
        self.send(request, 200, "application/json", json.dumps(rows, ensure_ascii=False).encode())

    @staticmethod
    def send(request, status: int, media_type: str, body: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Type", media_type)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        try:
            for start in range(0, len(body), 65536):
                chunk = body[start:start + 65536]
                request.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            request.wfile.write(b"0\r\n\r\n")
        except ConnectionError:
            # The gateway closes the connection when it has received the instance that it needs.
            request.close_connection = True
