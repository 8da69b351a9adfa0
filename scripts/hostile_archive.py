"""An archive that misbehaves in the way that its first argument names. `scripts/hostile` starts it.

Each function below is one behavior: it gets the path of a request, and yields the bytes of the response. A behavior that concerns
objects or studies returns ordinary rows to every search, so that the gateway gets as far as the object.
"""

import asyncio
import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterator

STUDY, SERIES, INSTANCE = "1.2.3", "1.2.3.4", "1.2.3.4.5"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
JPEG, JPEG_2000, JPEG_LS, RLE = (
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5",
)
ROWS_TYPE, OBJECT_TYPE = "application/dicom+json", 'multipart/related; type="application/dicom"; boundary=b'
MEGABYTE = 1 << 20

STUDIES, READ, RENDERED, METADATA = (
    "/fhir/ImagingStudy",
    f"/fhir/ImagingStudy/{STUDY}",
    f"/dicom-web/archive/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}/rendered",
    f"/dicom-web/archive/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}/metadata",
)
SERIES_METADATA = f"/dicom-web/archive/studies/{STUDY}/series/{SERIES}/metadata"
STUDY_CONTENT = f"/dicom-web/archive/studies/{STUDY}"
QIDO = "/dicom-web/archive/studies"

Chunks = Iterator[bytes]
# The behaviors by name: description, the requests of the clients, and the response to an upstream request.
BEHAVIORS: dict[str, tuple[str, list[str], Callable[[str], Chunks | None]]] = {}


def behavior(description: str, *requests: str):
    def register(function: Callable[[str], Chunks | None]):
        BEHAVIORS[function.__name__] = (description, list(requests), function)
        return function

    return register


# Rows and objects


def row(study: str = STUDY, **values: list) -> bytes:
    element = lambda vr, *value: {"vr": vr, "Value": list(value)}
    members = {
        "0020000D": element("UI", study),
        "0020000E": element("UI", SERIES),
        "00080018": element("UI", INSTANCE),
        "00080016": element("UI", CT_IMAGE),
        "00100020": element("LO", "P1"),
        "00080020": element("DA", "20240102"),
        "00080060": element("CS", "CT"),
        "00080061": element("CS", "CT"),
        "00201206": element("IS", 1),
        "00201208": element("IS", 1),
        "00201209": element("IS", 1),
    }
    return json.dumps(members | values).encode()


def head(media_type: str = ROWS_TYPE, length: int | None = None, *fields: str) -> bytes:
    lines = [f"Content-Type: {media_type}", *fields]
    lines.append("Connection: close" if length is None else f"Content-Length: {length}")
    return ("HTTP/1.1 200 OK\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()


def whole(content: bytes, media_type: str = ROWS_TYPE, *fields: str) -> Chunks:
    yield head(media_type, len(content), *fields)
    yield content


def rows(*content: bytes) -> Chunks:
    return whole(b"[" + b",".join(content) + b"]")


def endless(chunk: bytes, limit: int = 1 << 40) -> Chunks:
    """Yields the chunk until the reader closes the connection, or until the limit, for what must end."""
    block = chunk * max(1, 65536 // len(chunk))
    sent = 0
    while sent < limit:
        yield block
        sent += len(block)


def level(path: str) -> str:
    path = path.split("?")[0].rstrip("/")
    return path.rsplit("/", 1)[1]


def is_study_search(path: str) -> bool:
    return level(path) == "studies"


def ordinary(path: str) -> Chunks:
    """The response of an archive that contains one study of one instance."""
    return rows(row()) if level(path) in ("studies", "series", "instances") else not_found()


def not_found() -> Chunks:
    yield b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    value += b"\0" * (len(value) % 2)
    length = len(value) if length is None else length
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OD", b"OF", b"UC"):
        return struct.pack("<HH2sHI", group, number, vr, 0, length) + value
    return struct.pack("<HH2sH", group, number, vr, length) + value


def file_meta(syntax: str) -> bytes:
    content = element(2, 2, b"UI", CT_IMAGE.encode()) + element(2, 3, b"UI", INSTANCE.encode()) + element(2, 0x10, b"UI", syntax.encode())
    return bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(content))) + content


def uids() -> bytes:
    return (
        element(8, 0x16, b"UI", CT_IMAGE.encode()) + element(8, 0x18, b"UI", INSTANCE.encode()) + element(8, 0x60, b"CS", b"CT")
        + element(0x10, 0x20, b"LO", b"P1") + element(0x20, 0xD, b"UI", STUDY.encode()) + element(0x20, 0xE, b"UI", SERIES.encode())
    )


def image_module(height: int, width: int, frames: int = 1, bits: int = 8, samples: int = 1) -> bytes:
    short = lambda number, value: element(0x28, number, b"US", struct.pack("<H", value))
    photometric = b"MONOCHROME2" if samples == 1 else b"RGB"
    return (
        short(2, samples) + element(0x28, 4, b"CS", photometric) + (short(6, 0) if samples > 1 else b"")
        + element(0x28, 8, b"IS", str(frames).encode()) + short(0x10, height) + short(0x11, width)
        + short(0x100, bits) + short(0x101, bits) + short(0x102, bits - 1) + short(0x103, 0)
    )


def fragments(*contents: bytes, table: bytes = b"") -> bytes:
    item = lambda content: b"\xfe\xff\x00\xe0" + struct.pack("<I", len(content) + len(content) % 2) + content + b"\0" * (len(content) % 2)
    return item(table) + b"".join(map(item, contents)) + b"\xfe\xff\xdd\xe0\0\0\0\0"


def encapsulated(*contents: bytes, table: bytes = b"") -> bytes:
    return element(0x7FE0, 0x10, b"OB", b"", 0xFFFFFFFF) + fragments(*contents, table=table)


def object_only(path: str, *chunks: bytes | Chunks) -> Chunks:
    """The response of an archive that contains one instance, which consists of the chunks, and nothing rendered or synthesized."""
    if level(path) not in (INSTANCE, SERIES, STUDY):
        yield from ordinary(path)
        return
    yield head(OBJECT_TYPE)
    yield b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    for chunk in chunks:
        if isinstance(chunk, bytes):
            yield chunk
        else:
            yield from chunk
    yield b"\r\n--b--\r\n"


def empty_jpeg(height: int, width: int, scans: int, progressive: bool = True) -> bytes:
    """A JPEG stream whose scans contain no coefficient."""
    table = b"\xff\xdb\0\x43\0" + b"\x10" * 64
    frame = b"\xff" + (b"\xc2" if progressive else b"\xc0") + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\0"
    huffman = b"\xff\xc4\0\x14\0" + b"\1" + bytes(15) + b"\0" + b"\xff\xc4\0\x14\x10" + b"\1" + bytes(15) + b"\0"
    first = b"\xff\xda\0\x08\1\1\0\0\0\0" + b"\0" * max(1, (height // 8) * (width // 8) // 8 + 1)
    scan = b"\xff\xda\0\x08\1\1\0\1\x3f\0" + b"\0" * max(1, (height // 8) * (width // 8) // 8 + 1)
    return b"\xff\xd8" + table + frame + huffman + first + scan * scans + b"\xff\xd9"


# Searches


@behavior("a page of endless small rows", STUDIES)
def endless_rows(path: str) -> Chunks:
    yield head()
    yield b"["
    number = 0
    while True:
        number += 1000
        yield b"".join(row(f"1.2.{n}") + b"," for n in range(number, number + 1000))


@behavior("the same row, endlessly, in one page", STUDIES)
def one_row_repeated(path: str) -> Chunks:
    yield head()
    yield b"["
    yield from endless(row() + b",")


@behavior("a row with 15 million values", STUDIES)
def million_values(path: str) -> Chunks:
    yield head()
    yield b'[{"0020000D":{"vr":"UI","Value":["1.2.3"]},"00081030":{"vr":"LO","Value":["a"'
    yield from endless(b',"a"', 60 * MEGABYTE)
    yield b"]}}]"


@behavior("a row with endless attributes", STUDIES)
def endless_attributes(path: str) -> Chunks:
    yield head()
    yield b'[{"0020000D":{"vr":"UI","Value":["1.2.3"]}'
    for tag in range(0x00090000, 0xFFFF0000, 1000):
        yield b"".join(b',"%08X":{"vr":"LO","Value":["a"]}' % (tag + n) for n in range(1000))


@behavior("a string without end in a row", STUDIES)
def endless_string(path: str) -> Chunks:
    yield head()
    yield b'[{"0020000D":{"vr":"UI","Value":["1.2.3"]},"00081030":{"vr":"LO","Value":["'
    yield from endless(b"a")


@behavior("a member name without end", STUDIES)
def endless_name(path: str) -> Chunks:
    yield head()
    yield b'[{"'
    yield from endless(b"0")


@behavior("a number without end", STUDIES)
def endless_number(path: str) -> Chunks:
    yield head()
    yield b'[{"00201206":{"vr":"IS","Value":['
    yield from endless(b"1")


@behavior("spaces without end before the first row", STUDIES)
def endless_spaces(path: str) -> Chunks:
    yield head()
    yield from endless(b" ")


@behavior("sequences nested without end in a row", STUDIES)
def nested_sequences(path: str) -> Chunks:
    yield head()
    yield b"[{"
    yield from endless(b'"00081110":{"vr":"SQ","Value":[{')


@behavior("lists nested without end in a value", STUDIES)
def nested_lists(path: str) -> Chunks:
    yield head()
    yield b'[{"00081030":{"vr":"LO","Value":['
    yield from endless(b"[")


def gzip_stream(content: Chunks) -> Chunks:
    yield head(ROWS_TYPE, None, "Content-Encoding: gzip")
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    for chunk in content:
        if compressed := compressor.compress(chunk):
            yield compressed


@behavior("gzip that expands to spaces without end", STUDIES)
def gzip_spaces(path: str) -> Chunks:
    return gzip_stream(endless(b" " * MEGABYTE))


@behavior("gzip that expands to rows without end", STUDIES)
def gzip_rows(path: str) -> Chunks:
    return gzip_stream(endless(b"[" + (row() + b",") * 2000))


@behavior("gzip that expands to one string without end", STUDIES)
def gzip_string(path: str) -> Chunks:
    def content() -> Chunks:
        yield b'[{"00081030":{"vr":"LO","Value":["'
        yield from endless(b"a" * MEGABYTE)

    return gzip_stream(content())


def page_offset(path: str) -> int:
    _, _, query = path.partition("offset=")
    return int(query.split("&")[0] or 0) if query else 0


@behavior("pages without end, each with new studies", STUDIES)
def endless_pages(path: str) -> Chunks:
    start = 1000 + page_offset(path)
    return rows(*(row(f"1.2.{n}") for n in range(start, start + 500)))


@behavior("the first page again for every offset", STUDIES)
def repeated_page(path: str) -> Chunks:
    return rows(*(row(f"1.2.{n}") for n in range(1000, 1500)))


@behavior("a multipart response without end to a search", STUDIES)
def multipart_rows(path: str) -> Chunks:
    yield head("multipart/related; boundary=b")
    yield from endless(b"--b\r\nContent-Type: application/dicom+xml\r\n\r\n<NativeDicomModel/>\r\n")


@behavior("header fields without end", STUDIES)
def endless_headers(path: str) -> Chunks:
    yield b"HTTP/1.1 200 OK\r\n"
    yield from endless(b"X-Field: value\r\n")


@behavior("a header field without end", STUDIES)
def endless_header(path: str) -> Chunks:
    yield b"HTTP/1.1 200 OK\r\nX-Field: "
    yield from endless(b"a")


@behavior("interim responses (103) without end", STUDIES)
def endless_interim(path: str) -> Chunks:
    yield from endless(b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n")


@behavior("a chunk extension without end", STUDIES)
def endless_chunk_extension(path: str) -> Chunks:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nTransfer-Encoding: chunked\r\n\r\n1;"
    yield from endless(b"a")


@behavior("trailers without end", STUDIES)
def endless_trailers(path: str) -> Chunks:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n"
    yield from endless(b"X-Field: value\r\n")


@behavior("Content-Length of 2^62, then nothing", STUDIES)
def huge_length(path: str) -> Chunks | None:
    yield head(ROWS_TYPE, 1 << 62)
    yield b"["
    yield None


@behavior("no response", STUDIES)
def silence(path: str) -> Chunks | None:
    yield None


@behavior("redirects without end", STUDIES)
def redirects(path: str) -> Chunks:
    yield b"HTTP/1.1 302 Found\r\nLocation: /dicom-web/studies?again\r\nContent-Length: 0\r\n\r\n"


@behavior("an error body without end", STUDIES)
def endless_error(path: str) -> Chunks:
    yield b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    yield from endless(b"<p>error</p>")


# Studies


@behavior("series without end, in pages", READ)
def endless_series(path: str) -> Chunks:
    if level(path) != "series":
        return ordinary(path) if is_study_search(path) else not_found()
    start = 1000 + page_offset(path)
    series = lambda n: {"0020000E": {"vr": "UI", "Value": [f"1.2.3.{n}"]}}
    return rows(*(row(**series(n)) for n in range(start, start + 500)))


@behavior("series without end, in one page", READ)
def endless_series_page(path: str) -> Chunks:
    if level(path) != "series":
        return ordinary(path) if is_study_search(path) else not_found()

    def content() -> Chunks:
        yield head()
        yield b"["
        for number in range(1 << 40):
            yield row(**{"0020000E": {"vr": "UI", "Value": [f"1.2.3.{number}"]}}) + b","

    return content()


@behavior("instances without end, in pages", READ)
def endless_instances(path: str) -> Chunks:
    if level(path) != "instances":
        return ordinary(path)
    start = 1000 + page_offset(path)
    return rows(*(row(**{"00080018": {"vr": "UI", "Value": [f"1.2.3.4.{n}"]}}) for n in range(start, start + 500)))


@behavior("metadata objects without end", READ)
def endless_metadata(path: str) -> Chunks:
    if level(path) != "metadata":
        return ordinary(path)

    def content() -> Chunks:
        yield head()
        yield b"["
        for number in range(1 << 40):
            yield row(**{"00080018": {"vr": "UI", "Value": [f"1.2.3.4.{number}"]}}) + b","

    return content()


@behavior("InlineBinary without end in metadata", READ, SERIES_METADATA)
def endless_inline_binary(path: str) -> Chunks:
    if level(path) != "metadata":
        return ordinary(path)

    def content() -> Chunks:
        yield head()
        yield b'[{"00080018":{"vr":"UI","Value":["1.2.3.4.5"]},"00281201":{"vr":"OW","InlineBinary":"'
        yield from endless(b"AAAA")

    return content()


@behavior("a sequence of items without end in metadata", READ, SERIES_METADATA)
def endless_items(path: str) -> Chunks:
    if level(path) != "metadata":
        return ordinary(path)

    def content() -> Chunks:
        yield head()
        yield b'[{"00080018":{"vr":"UI","Value":["1.2.3.4.5"]},"00400275":{"vr":"SQ","Value":[{}'
        yield from endless(b',{"00080050":{"vr":"SH","Value":["1"]}}')

    return content()


@behavior("gzip that expands to metadata without end", READ, SERIES_METADATA)
def gzip_metadata(path: str) -> Chunks:
    if level(path) != "metadata":
        return ordinary(path)
    return gzip_stream(endless(b"[" + (row() + b",") * 2000))


# Retrievals


@behavior("an instance without end", STUDY_CONTENT)
def endless_content(path: str) -> Chunks:
    return object_only(path, file_meta(EXPLICIT), uids(), endless(bytes(65536)))


@behavior("the header of a part without end", STUDY_CONTENT)
def endless_part_header(path: str) -> Chunks:
    yield head(OBJECT_TYPE)
    yield b"--b\r\nContent-Type: "
    yield from endless(b"a")


@behavior("empty parts without end", STUDY_CONTENT)
def empty_parts(path: str) -> Chunks:
    yield head(OBJECT_TYPE)
    yield from endless(b"--b\r\n\r\n\r\n")


@behavior("text without end before the first part", STUDY_CONTENT)
def endless_preamble(path: str) -> Chunks:
    yield head(OBJECT_TYPE)
    yield from endless(b"preamble\r\n")


@behavior("a boundary of 60 kB", STUDY_CONTENT)
def long_boundary(path: str) -> Chunks:
    boundary = "b" * 60000
    yield head(f'multipart/related; type="application/dicom"; boundary={boundary}')
    yield from endless(f"--{boundary}\r\n\r\n\r\n".encode())


@behavior("XML rows whose text does not end", QIDO + "?StudyInstanceUID=1.2.3")
def endless_xml(path: str) -> Chunks:
    yield head('multipart/related; type="application/dicom+xml"; boundary=b')
    yield b'--b\r\nContent-Type: application/dicom+xml\r\n\r\n<NativeDicomModel><DicomAttribute tag="00081030" vr="LO"><Value number="1">'
    yield from endless(b"a")


@behavior("rows without end for a DICOMweb client", QIDO)
def endless_qido(path: str) -> Chunks:
    return endless_rows(path)


@behavior("a row of 60 MB for a DICOMweb client", QIDO)
def large_qido_row(path: str) -> Chunks:
    return million_values(path)


@behavior("URLs without end in metadata", SERIES_METADATA)
def endless_urls(path: str) -> Chunks:
    yield head()
    yield b'[{"7FE00010":{"vr":"OW","BulkDataURI":"http://'
    yield from endless(b"a")


# Objects


@behavior("a Transfer Syntax UID of 1.8 GB", METADATA, RENDERED)
def huge_transfer_syntax(path: str) -> Chunks:
    content = element(2, 2, b"UI", CT_IMAGE.encode()) + element(2, 0x10, b"UT", b"", 0x70000000)
    return object_only(path, bytes(128) + b"DICM", element(2, 0, b"UL", struct.pack("<I", len(content))), content, b"1.2")


@behavior("elements without end before the pixel data", METADATA, RENDERED)
def endless_header_elements(path: str) -> Chunks:
    many = b"".join(element(0x0009, 0x1000 + n, b"LO", b"value") for n in range(1000))
    return object_only(path, file_meta(EXPLICIT), uids(), endless(many))


@behavior("a private value of 4 GB before the pixel data", METADATA, RENDERED)
def huge_private_value(path: str) -> Chunks:
    return object_only(path, file_meta(EXPLICIT), uids(), element(0x29, 0x1010, b"OB", b"", 0xFFFFFFF0), endless(bytes(65536)))


@behavior("sequences nested without end in an object", METADATA, RENDERED)
def nested_object(path: str) -> Chunks:
    nested = element(8, 0x1110, b"SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return object_only(path, file_meta(EXPLICIT), uids(), endless(nested))


@behavior("a sequence of empty items without end in an object", METADATA, RENDERED)
def endless_object_items(path: str) -> Chunks:
    return object_only(path, file_meta(EXPLICIT), uids(), element(0x40, 0x275, b"SQ", b"", 0xFFFFFFFF), endless(b"\xfe\xff\x00\xe0\0\0\0\0"))


@behavior("a deflated object that expands without end", METADATA, RENDERED)
def deflated_object(path: str) -> Chunks:
    def content() -> Chunks:
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        yield compressor.compress(uids() + element(0x29, 0x1010, b"OB", b"", 0xFFFFFFF0))
        while True:
            if compressed := compressor.compress(bytes(MEGABYTE)):
                yield compressed

    return object_only(path, file_meta(DEFLATED), content())


@behavior("an image of 65,535 × 65,535 pixels without pixels", RENDERED)
def huge_image(path: str) -> Chunks:
    return object_only(path, file_meta(EXPLICIT), uids(), image_module(65535, 65535, bits=16), element(0x7FE0, 0x10, b"OW", bytes(64)))


@behavior("an image of 65,535 × 65,535 pixels, sent", RENDERED)
def huge_image_sent(path: str) -> Chunks:
    return object_only(
        path, file_meta(EXPLICIT), uids(), image_module(65535, 65535, bits=8), element(0x7FE0, 0x10, b"OW", b"", 65535 * 65535 // 2 * 2), endless(bytes(65536)),
    )


@behavior("2,147,483,647 frames declared", RENDERED, METADATA)
def many_frames(path: str) -> Chunks:
    return object_only(path, file_meta(EXPLICIT), uids(), image_module(64, 64, frames=2147483647), element(0x7FE0, 0x10, b"OB", bytes(4096)))


@behavior("encapsulated fragments without end", RENDERED)
def endless_fragments(path: str) -> Chunks:
    pixel_data = element(0x7FE0, 0x10, b"OB", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\0\0\0\0"
    return object_only(path, file_meta(JPEG), uids(), image_module(64, 64), pixel_data, endless(b"\xfe\xff\x00\xe0\0\0\0\0"))


@behavior("a Basic Offset Table of 16 million entries", RENDERED)
def huge_offset_table(path: str) -> Chunks:
    return object_only(path, file_meta(JPEG), uids(), image_module(64, 64, frames=16000000), encapsulated(b"\xff\xd8\xff\xd9", table=bytes(64 * MEGABYTE)))


@behavior("a progressive JPEG of 20,000 scans", RENDERED)
def many_scans(path: str) -> Chunks:
    return object_only(path, file_meta(JPEG), uids(), image_module(512, 512), encapsulated(empty_jpeg(512, 512, 20000)))


@behavior("a JPEG of 65,535 × 65,535 pixels", RENDERED)
def huge_jpeg(path: str) -> Chunks:
    return object_only(path, file_meta(JPEG), uids(), image_module(65535, 65535), encapsulated(empty_jpeg(65535, 65535, 0, False)[:4096]))


@behavior("a JPEG larger than its object declares", RENDERED)
def larger_jpeg(path: str) -> Chunks:
    return object_only(path, file_meta(JPEG), uids(), image_module(64, 64), encapsulated(empty_jpeg(30000, 30000, 0, False)))


@behavior("a JPEG 2000 image of 2^31 × 2^31 in tiles of one pixel", RENDERED)
def huge_jpeg_2000(path: str) -> Chunks:
    size = struct.pack(">HIIIIIIIIH", 0, 0x7FFFFFFF, 0x7FFFFFFF, 0, 0, 1, 1, 0, 0, 1) + b"\x07\1\1"
    stream = b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size + b"\xff\x52\0\x0c\0\0\0\1\0\5\4\4\0\1\xff\x5c\0\4\x40\x40\xff\x90\0\x0a\0\0\0\0\0\0\0\1\xff\x93" + bytes(200) + b"\xff\xd9"
    return object_only(path, file_meta(JPEG_2000), uids(), image_module(64, 64), encapsulated(stream))


@behavior("a JPEG-LS image of 65,535 × 65,535 pixels", RENDERED)
def huge_jpeg_ls(path: str) -> Chunks:
    stream = b"\xff\xd8\xff\xf7" + struct.pack(">HBHHB", 11, 8, 65535, 65535, 1) + b"\1\x11\0\xff\xda\0\x08\1\1\0\0\0\0" + bytes(4096) + b"\xff\xd9"
    return object_only(path, file_meta(JPEG_LS), uids(), image_module(65535, 65535), encapsulated(stream))


@behavior("RLE that expands to 5,000 × 5,000 × 3 samples", RENDERED)
def rle_expansion(path: str) -> Chunks:
    segment = b"\x81\0" * (5000 * 5000 // 128)
    offsets = [64 + n * len(segment) for n in range(3)] + [0] * 12
    return object_only(path, file_meta(RLE), uids(), image_module(5000, 5000, samples=3), encapsulated(struct.pack("<16I", 3, *offsets) + segment * 3))


@behavior("lookup tables without end in a rendered object", RENDERED)
def endless_lookup_tables(path: str) -> Chunks:
    lut = element(0x28, 0x3002, b"US", struct.pack("<HHH", 0, 0, 16)) + element(0x28, 0x3006, b"OW", bytes(65536 * 2))
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(lut)) + lut
    return object_only(path, file_meta(EXPLICIT), uids(), image_module(64, 64), element(0x28, 0x3010, b"SQ", b"", 0xFFFFFFFF), endless(item))


async def serve(name: str) -> None:
    respond = BEHAVIORS[name][2]

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                closes = False
                for chunk in respond(request.split(b" ", 2)[1].decode()):
                    if chunk is None:
                        await asyncio.Event().wait()
                    closes |= b"Connection: close" in chunk[:1000]
                    writer.write(chunk)
                    await writer.drain()
                if closes:
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
