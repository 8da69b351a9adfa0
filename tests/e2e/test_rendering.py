"""Images that the gateway renders match the images that pydicom, other decoders and numpy compute from the same files.

Gray levels may differ by one because of rounding. The standards do not define the exact arithmetic of lossy decoders: with lossy
compression gray levels may differ by two and colors by six, and by half a level on average.
"""

import concurrent.futures
import io
import pathlib
import subprocess
import warnings

import numpy
import pydicom
import pydicom.uid
import pytest
import requests
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

import rendered_images
import viewer_studies
from holdings import real_files
from servers import GATEWAY, Gateway, Orthanc

LOSSY = {pydicom.uid.JPEGBaseline8Bit, pydicom.uid.JPEGExtended12Bit, pydicom.uid.JPEGLSNearLossless, pydicom.uid.JPEG2000}
PNG = {"Accept": "image/png"}
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    server = Orthanc(tmp_path_factory.mktemp("images") / "orthanc")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def images(archive, samples) -> list[bytes]:
    """Every image of pydicom and of the samples that Orthanc accepts. Several files have the same UID and different transfer syntaxes: all but
    the first get another UID of the same length."""
    stored_files = []
    with requests.Session() as session:
        for number, file in enumerate([*real_files(), *sorted(path for path in samples.rglob("*") if path.is_file())]):
            content = file.read_bytes()
            status = archive.store(session, content)
            if status == "AlreadyStored":
                uid = str(pydicom.dcmread(io.BytesIO(content), force=True, stop_before_pixels=True).SOPInstanceUID)
                content = content.replace(uid.encode(), f"{uid[:-5]}1{number:04}".encode())
                status = archive.store(session, content)
            if status == "Success" and is_requestable_image(pydicom.dcmread(io.BytesIO(content), force=True)):
                stored_files.append(content)
    return stored_files


@pytest.fixture(scope="module")
def rendering(archive, images, folder):
    """A gateway that renders every image itself."""
    server = Gateway(folder, "rendering", archive.dicomweb, archive='synthesize = ["rendered"]')
    yield server
    server.stop()


def instance_path(dataset: Dataset) -> str:
    return f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}/instances/{dataset.SOPInstanceUID}"


def is_requestable_image(dataset: Dataset) -> bool:
    """Whether an object is an image in a study that can be requested: one study has no valid UID, and one has several patients."""
    study = str(dataset.get("StudyInstanceUID"))
    if not study.replace(".", "").isdigit() or study == "1.2.999.999.99.9.9999.8888":
        return False
    return "Rows" in dataset and any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))


def frames_to_compare(dataset: Dataset) -> list[int]:
    """Returns the numbers of the first, the middle and the last frame."""
    try:
        count = int(dataset.get("NumberOfFrames") or 1)
    except ValueError:
        return [1]
    return sorted({1, (count + 1) // 2, count})


def difference(content: bytes, expected: numpy.ndarray) -> tuple[float, float]:
    """Returns the maximum and the mean difference between an image and its expected pixels."""
    rendered = numpy.asarray(Image.open(io.BytesIO(content))).astype(float)
    assert rendered.shape == expected.shape
    differences = numpy.abs(rendered - expected)
    return differences.max(), differences.mean()


def test_every_image_matches_another_renderer(rendering, images):
    def compare(content: bytes) -> list[tuple[str, str]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(content), force=True)
            outcomes = []
            for frame in frames_to_compare(dataset):
                response = requests.get(f"{rendering.dicomweb}{instance_path(dataset)}/frames/{frame}/rendered", headers=PNG, timeout=300)
                try:
                    expected = rendered_images.render(dataset, frame)
                except Exception as error:  # pydicom cannot render the image; it raises various exceptions.
                    outcomes.append(("no reference", f"{response.status_code} {error}"))
                    continue
                syntax = dataset.file_meta.TransferSyntaxUID
                name = f"{dataset.SOPInstanceUID} {syntax.name} {dataset.PhotometricInterpretation} {dataset.BitsStored} bits, frame {frame}"
                if response.status_code != 200:
                    outcomes.append(("rejected", f"{response.status_code} {syntax} {name}: {response.text[:200]}"))
                    continue
                assert response.headers["Content-Type"] == "image/png"
                maximum, mean = difference(response.content, expected)
                is_color = expected.ndim == 3
                limits = (1, 1) if syntax not in LOSSY else (6, 0.5) if is_color else (2, 0.5)
                matches = maximum <= limits[0] and mean <= limits[1]
                outcomes.append(("matching", name) if matches else ("different", f"{name}: differs by {maximum:.1f}, {mean:.3f} on average"))
            return outcomes

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outcomes = [outcome for image_outcomes in pool.map(compare, images) for outcome in image_outcomes]
    by_kind = {kind: [text for other, text in outcomes if other == kind] for kind in ("matching", "different", "rejected", "no reference")}
    assert not by_kind["different"], by_kind["different"]
    assert not by_kind["rejected"], by_kind["rejected"]
    assert len(by_kind["no reference"]) <= 20, by_kind["no reference"]
    assert len(by_kind["matching"]) >= 500, len(by_kind["matching"])
    for syntax in ("JPEG Baseline", "JPEG Extended", "JPEG Lossless", "JPEG-LS Lossless", "JPEG 2000 Image Compression (Lossless", "RLE Lossless",
                   "Explicit VR Big Endian", "Deflated", "PALETTE COLOR", "MONOCHROME1", "YBR_FULL_422"):
        assert any(syntax in text for text in by_kind["matching"]), syntax


def test_the_window_parameter_is_applied_as_the_standard_defines(rendering, images):
    dataset = next(
        dataset for dataset in (pydicom.dcmread(io.BytesIO(content), force=True) for content in images)
        if dataset.get("Modality") == "CT" and "PixelData" in dataset and dataset.get("BitsStored", 0) > 8 and not dataset.get("NumberOfFrames")
    )
    quantities = pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset)
    for function in ("linear", "linear-exact", "sigmoid"):
        response = requests.get(f"{rendering.dicomweb}{instance_path(dataset)}/rendered?window=40.5,350,{function}", headers=PNG, timeout=300)
        assert response.status_code == 200, response.text
        expected = rendered_images.window(quantities, 40.5, 350, function.upper().replace("-", "_")) * 255
        assert difference(response.content, expected)[0] <= 1, function


def test_a_jpeg_differs_little_from_the_lossless_image(rendering, images):
    content = next(content for content in images if pydicom.dcmread(io.BytesIO(content), force=True).get("Modality") == "MR")
    url = rendering.dicomweb + instance_path(pydicom.dcmread(io.BytesIO(content), force=True)) + "/frames/1/rendered"
    lossless = numpy.asarray(Image.open(io.BytesIO(requests.get(url, headers=PNG, timeout=300).content))).astype(float)
    sizes = []
    for quality, max_mean in (("5", 20), ("", 3), ("100", 1)):
        response = requests.get(url, params={"quality": quality} if quality else {}, timeout=300)
        assert response.headers["Content-Type"] == "image/jpeg"
        assert difference(response.content, lossless)[1] <= max_mean
        sizes.append(len(response.content))
    assert sizes == sorted(sizes)


def test_animated_gifs_have_the_frame_rate_of_the_object(rendering, images):
    """Pillow reads the frames and durations of the GIF, and pydicom reads the frame rate of the object."""
    compared_interpretations = set()
    for dataset in (pydicom.dcmread(io.BytesIO(content), force=True) for content in images):
        frame_count = int(dataset.get("NumberOfFrames") or 1)
        photometric = dataset.get("PhotometricInterpretation", "")
        if not 1 < frame_count < 40 or photometric in compared_interpretations or "PixelData" not in dataset:
            continue
        url = f"{rendering.dicomweb}{instance_path(dataset)}"
        animated = requests.get(f"{url}/rendered", headers={"Accept": "image/gif"}, timeout=300)
        assert animated.status_code == 200 and animated.headers["Content-Type"] == "image/gif", animated.text[:200]
        gif = Image.open(io.BytesIO(animated.content))
        assert gif.n_frames == frame_count and gif.info["loop"] == 0
        rate = float(dataset.get("RecommendedDisplayFrameRate") or dataset.get("CineRate") or 0)
        frame_time = 1000 / rate if rate else float(dataset.get("FrameTime") or 0) or 100
        for number in (1, frame_count):
            gif.seek(number - 1)
            assert abs(gif.info["duration"] - max(frame_time, 20)) <= 5, (frame_time, gif.info["duration"])
            single_frame = requests.get(f"{url}/frames/{number}/rendered", headers=PNG, timeout=300)
            expected = Image.open(io.BytesIO(single_frame.content)).convert("RGB")
            differences = numpy.abs(numpy.asarray(gif.convert("RGB")).astype(float) - numpy.asarray(expected))
            assert differences.mean() <= (0 if "MONOCHROME" in photometric else 5), (photometric, number, differences.mean())
        compared_interpretations.add(photometric)
    assert len(compared_interpretations) >= 2 and any("MONOCHROME" in name for name in compared_interpretations), compared_interpretations


def malformed_objects() -> dict[str, Dataset]:
    """Returns malformed objects, which are modified valid objects, by name."""
    def with_values(**values) -> Dataset:
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        for name, value in values.items():
            setattr(dataset, name, value)
        return dataset

    def with_stream(name: str, change) -> Dataset:
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file(name))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        stream = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
        dataset.PixelData = encapsulate([change(bytearray(stream))])
        dataset["PixelData"].is_undefined_length = True
        return dataset

    def truncate(stream: bytearray) -> bytes:
        return bytes(stream[: len(stream) // 3 // 2 * 2])

    def overwrite_end(stream: bytearray) -> bytes:
        noise = numpy.random.default_rng(1).integers(0, 256, len(stream), numpy.uint8).tobytes()
        middle = len(stream) // 3
        return bytes(stream[:middle] + noise[middle:])

    def replace(stream: bytearray) -> bytes:
        return numpy.random.default_rng(2).integers(0, 256, len(stream) // 2 * 2, numpy.uint8).tobytes()

    objects = {
        "missing pixels": with_values(Rows=256),
        "65535 by 65535": with_values(Rows=65535, Columns=65535),
        "2147483647 frames": with_values(NumberOfFrames=2**31 - 1),
        "missing samples": with_values(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0),
    }
    for kind, name in {
        "JPEG": "SC_rgb_jpeg_dcmtk.dcm", "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm", "JPEG 2000": "MR_small_jp2klossless.dcm",
        "RLE": "MR_small_RLE.dcm", "lossless JPEG": "JPEG-LL.dcm",
    }.items():
        objects[f"{kind} truncated"] = with_stream(name, truncate)
        objects[f"{kind} overwritten"] = with_stream(name, overwrite_end)
        objects[f"{kind} replaced by noise"] = with_stream(name, replace)
        objects[f"{kind} of another size"] = with_stream(name, bytes)
        objects[f"{kind} of another size"].Rows += 1
        objects[f"{kind} of 65535 by 65535"] = with_stream(name, bytes)
        objects[f"{kind} of 65535 by 65535"].Rows = objects[f"{kind} of 65535 by 65535"].Columns = 65535
    return objects


def peak_memory(server: Gateway) -> int:
    """Returns the peak memory of the process in bytes."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def test_malformed_objects_are_errors_within_the_memory_limit(tmp_path, http_session):
    archive = Orthanc(tmp_path / "orthanc")
    gateway = Gateway(tmp_path, "rendering", archive.dicomweb, archive='synthesize = ["rendered"]\n[render]\nmemory = "64MiB"')
    try:
        objects = malformed_objects()
        for name, dataset in objects.items():
            content = io.BytesIO()
            dataset.save_as(content)
            assert archive.store(http_session, content.getvalue()) == "Success", name
        before = peak_memory(gateway)
        for _ in range(2):
            for name, dataset in objects.items():
                response = http_session.get(f"{gateway.dicomweb}{instance_path(dataset)}/frames/1/rendered", timeout=300)
                # A stream with an overwritten end may be decodable.
                is_allowed = response.status_code in (404, 413, 501, 502) or response.status_code == 200 and "overwritten" in name
                is_allowed |= response.status_code == 200 and name == "2147483647 frames"
                is_allowed |= response.status_code == 200 and name == "JPEG truncated"
                assert is_allowed, f"{name}: {response.status_code} {response.text[:200]}"
        assert peak_memory(gateway) - before < 96 * MEBIBYTE
        assert requests.get(f"{gateway.admin}/readyz", timeout=300).status_code == 200
        log = gateway.log.read_text()
        assert "CompressedSamples" not in log and "PatientID" not in log
    finally:
        gateway.stop()
        archive.stop()


@pytest.mark.parametrize("synthesized", ["", 'synthesize = ["rendered"]'], ids=["the archive is asked first", "the archive is not asked"])
def test_documents_and_videos_are_their_own_rendered_resources(synthesized, archive, http_session, tmp_path):
    video_content = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    gateway = Gateway(tmp_path, "content", archive.dicomweb, archive=synthesized)
    try:
        for (file,), media_type, content in (
            (viewer_studies.document(), "application/pdf", viewer_studies.pdf()), (viewer_studies.video(), "video/mp4", video_content),
        ):
            assert archive.store(http_session, file) in ("Success", "AlreadyStored")
            url = f"{gateway.dicomweb}{instance_path(pydicom.dcmread(io.BytesIO(file)))}/rendered"
            for accept in ("*/*", media_type, f"image/jpeg, {media_type};q=0.5"):
                response = http_session.get(url, headers={"Accept": accept}, timeout=300)
                assert (response.status_code, response.headers["Content-Type"]) == (200, media_type), f"{accept}: {response.text[:200]}"
                assert response.content == content
            assert http_session.get(f"{url}?accept={media_type}", timeout=300).content == content
            rejected = http_session.get(url, headers={"Accept": "image/png"}, timeout=300)
            assert rejected.status_code == 406 and media_type in rejected.json()["message"], rejected.text
    finally:
        gateway.stop()


def image_with_narrow_window() -> bytes:
    """Returns an image whose window shows a small part of its values. This Orthanc renders it with another window."""
    values = numpy.arange(viewer_studies.EDGE**2, dtype="<u2")
    return viewer_studies.write_object(
        100, 1, 1, pydicom.uid.CTImageStorage, "CT", Rows=viewer_studies.EDGE, Columns=viewer_studies.EDGE, SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=0, PixelSpacing=[1, 1],
        RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU", WindowCenter=40, WindowWidth=100, PixelData=values.tobytes(),
    )


def test_check_reports_that_the_archive_renders_wrongly_until_the_gateway_renders(tmp_path, http_session):
    archive = Orthanc(tmp_path / "orthanc")
    file = image_with_narrow_window()
    dataset = pydicom.dcmread(io.BytesIO(file))
    hint = 'main: add "rendered" to synthesize: it does not render all images correctly'
    try:
        assert archive.store(http_session, file) == "Success"
        for name, synthesized in (("forwarding", ""), ("rendering", 'synthesize = ["rendered"]')):
            gateway = Gateway(tmp_path, name, archive.dicomweb, archive=synthesized, profile="generic")
            try:
                url = f"{gateway.dicomweb}{instance_path(dataset)}/rendered"
                image = http_session.get(url, headers=PNG, timeout=300)
                check = subprocess.run([GATEWAY, "check", "--config", gateway.configuration], capture_output=True, text=True, timeout=600)
            finally:
                gateway.stop()
            assert check.returncode == 0, check.stdout + check.stderr
            mean_difference = difference(image.content, rendered_images.render(dataset))[1]
            if synthesized:
                assert mean_difference <= 1
                assert "rendered image" not in check.stdout and '"rendered"' not in check.stdout, check.stdout
            else:
                assert mean_difference > 50, "this Orthanc renders the image correctly; the test needs another image"
                assert "rendered image, monochrome 2: its values differ by " in check.stdout and hint in check.stdout, check.stdout
    finally:
        archive.stop()


@pytest.fixture
def http_session():
    with requests.Session() as session:
        yield session
