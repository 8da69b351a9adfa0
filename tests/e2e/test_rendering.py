"""Images rendered by the gateway, compared with those that pydicom, other decoders and numpy compute from the same files.

Gray levels may differ by one, because of rounding. The standards do not define the exact arithmetic of lossy decoders: with lossy
compression gray levels may differ by two and colors by six, and by half a level on average.
"""

import concurrent.futures
import io
import pathlib
import warnings

import numpy
import pydicom
import pydicom.uid
import pytest
import requests
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

import holdings
import rendered_images
from servers import Gateway, Orthanc

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
    """Every image of pydicom and every sample that Orthanc accepts. Many are the same image in several transfer syntaxes with
    the same UID: all but the first get another UID of the same length."""
    stored = []
    with requests.Session() as session:
        for number, file in enumerate([*holdings.real_files(), *sorted(path for path in samples.rglob("*") if path.is_file())]):
            content = file.read_bytes()
            status = archive.store(session, content)
            if status == "AlreadyStored":
                uid = str(pydicom.dcmread(io.BytesIO(content), force=True, stop_before_pixels=True).SOPInstanceUID)
                content = content.replace(uid.encode(), f"{uid[:-5]}1{number:04}".encode())
                status = archive.store(session, content)
            if status == "Success" and image(pydicom.dcmread(io.BytesIO(content), force=True)):
                stored.append(content)
    return stored


@pytest.fixture(scope="module")
def rendering(archive, images, folder):
    """A gateway that renders instead of Orthanc."""
    server = Gateway(folder, "rendering", archive.dicomweb, archive='synthesize = ["rendered"]')
    yield server
    server.stop()


def path(dataset: Dataset) -> str:
    return f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}/instances/{dataset.SOPInstanceUID}"


def image(dataset: Dataset) -> bool:
    """Whether it is an image in a study that can be requested: one study has no valid UID, one has several patients."""
    study = str(dataset.get("StudyInstanceUID"))
    if not study.replace(".", "").isdigit() or study == "1.2.999.999.99.9.9999.8888":
        return False
    return "Rows" in dataset and any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))


def frames(dataset: Dataset) -> list[int]:
    """The numbers of the first, the middle and the last frame."""
    try:
        count = int(dataset.get("NumberOfFrames") or 1)
    except ValueError:
        return [1]
    return sorted({1, (count + 1) // 2, count})


def difference(content: bytes, expected: numpy.ndarray) -> tuple[float, float]:
    """The maximum and the mean difference."""
    rendered = numpy.asarray(Image.open(io.BytesIO(content))).astype(float)
    assert rendered.shape == expected.shape
    differences = numpy.abs(rendered - expected)
    return differences.max(), differences.mean()


def test_every_image_matches_another_renderer(rendering, images):
    def compare(content: bytes) -> list[tuple[str, str]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(content), force=True)
            found = []
            for frame in frames(dataset):
                answer = requests.get(f"{rendering.dicomweb}{path(dataset)}/frames/{frame}/rendered", headers=PNG, timeout=300)
                try:
                    expected = rendered_images.expected(dataset, frame)
                except Exception as error:  # Whatever pydicom raises, it cannot render the image.
                    found.append(("no reference", f"{answer.status_code} {error}"))
                    continue
                syntax = dataset.file_meta.TransferSyntaxUID
                name = f"{dataset.SOPInstanceUID} {syntax.name} {dataset.PhotometricInterpretation} {dataset.BitsStored} bits, frame {frame}"
                if answer.status_code != 200:
                    found.append(("rejected", f"{answer.status_code} {syntax} {name}: {answer.text[:200]}"))
                    continue
                assert answer.headers["Content-Type"] == "image/png"
                greatest, mean = difference(answer.content, expected)
                color = expected.ndim == 3
                allowed = (1, 1) if syntax not in LOSSY else (6, 0.5) if color else (2, 0.5)
                right = greatest <= allowed[0] and mean <= allowed[1]
                found.append(("right", name) if right else ("wrong", f"{name}: differs by {greatest:.1f}, {mean:.3f} on average"))
            return found

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outcomes = [outcome for found in pool.map(compare, images) for outcome in found]
    by_kind = {kind: [text for other, text in outcomes if other == kind] for kind in ("right", "wrong", "rejected", "no reference")}
    assert not by_kind["wrong"], by_kind["wrong"]
    assert not by_kind["rejected"], by_kind["rejected"]
    assert len(by_kind["no reference"]) <= 20, by_kind["no reference"]
    assert len(by_kind["right"]) >= 500, len(by_kind["right"])
    for syntax in ("JPEG Baseline", "JPEG Extended", "JPEG Lossless", "JPEG-LS Lossless", "JPEG 2000 Image Compression (Lossless", "RLE Lossless",
                   "Explicit VR Big Endian", "Deflated", "PALETTE COLOR", "MONOCHROME1", "YBR_FULL_422"):
        assert any(syntax in text for text in by_kind["right"]), syntax


def test_the_window_parameter_is_applied_by_the_standard(rendering, images):
    dataset = next(
        one for one in (pydicom.dcmread(io.BytesIO(content), force=True) for content in images)
        if one.get("Modality") == "CT" and "PixelData" in one and one.get("BitsStored", 0) > 8 and not one.get("NumberOfFrames")
    )
    quantities = pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset)
    for function in ("linear", "linear-exact", "sigmoid"):
        answer = requests.get(f"{rendering.dicomweb}{path(dataset)}/rendered?window=40.5,350,{function}", headers=PNG, timeout=300)
        assert answer.status_code == 200, answer.text
        expected = rendered_images.window(quantities, 40.5, 350, function.upper().replace("-", "_")) * 255
        assert difference(answer.content, expected)[0] <= 1, function


def test_a_jpeg_is_the_same_image_with_little_loss(rendering, images):
    content = next(one for one in images if pydicom.dcmread(io.BytesIO(one), force=True).get("Modality") == "MR")
    url = rendering.dicomweb + path(pydicom.dcmread(io.BytesIO(content), force=True)) + "/frames/1/rendered"
    exact = numpy.asarray(Image.open(io.BytesIO(requests.get(url, headers=PNG, timeout=300).content))).astype(float)
    sizes = []
    for quality, mean in (("5", 20), ("", 3), ("100", 1)):
        answer = requests.get(url, params={"quality": quality} if quality else {}, timeout=300)
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert difference(answer.content, exact)[1] <= mean
        sizes.append(len(answer.content))
    assert sizes == sorted(sizes)


def test_animated_gifs_have_the_frame_rate_of_the_object(rendering, images):
    """The frames and durations that Pillow reads, compared with the frame rate that pydicom reads from the object."""
    compared = set()
    for dataset in (pydicom.dcmread(io.BytesIO(content), force=True) for content in images):
        frames = int(dataset.get("NumberOfFrames") or 1)
        photometric = dataset.get("PhotometricInterpretation", "")
        if not 1 < frames < 40 or photometric in compared or "PixelData" not in dataset:
            continue
        url = f"{rendering.dicomweb}{path(dataset)}"
        animated = requests.get(f"{url}/rendered", headers={"Accept": "image/gif"}, timeout=300)
        assert animated.status_code == 200 and animated.headers["Content-Type"] == "image/gif", animated.text[:200]
        gif = Image.open(io.BytesIO(animated.content))
        assert gif.n_frames == frames and gif.info["loop"] == 0
        rate = float(dataset.get("RecommendedDisplayFrameRate") or dataset.get("CineRate") or 0)
        time = 1000 / rate if rate else float(dataset.get("FrameTime") or 0) or 100
        for number in (1, frames):
            gif.seek(number - 1)
            assert abs(gif.info["duration"] - max(time, 20)) <= 5, (time, gif.info["duration"])
            still = requests.get(f"{url}/frames/{number}/rendered", headers=PNG, timeout=300)
            expected = Image.open(io.BytesIO(still.content)).convert("RGB")
            differences = numpy.abs(numpy.asarray(gif.convert("RGB")).astype(float) - numpy.asarray(expected))
            assert differences.mean() <= (0 if "MONOCHROME" in photometric else 5), (photometric, number, differences.mean())
        compared.add(photometric)
    assert len(compared) >= 2 and any("MONOCHROME" in one for one in compared), compared


def malformed() -> dict[str, Dataset]:
    """Malformed objects, derived from valid ones."""
    def made(**values) -> Dataset:
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        for name, value in values.items():
            setattr(dataset, name, value)
        return dataset

    def encoded(name: str, change) -> Dataset:
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file(name))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        stream = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
        dataset.PixelData = encapsulate([change(bytearray(stream))])
        dataset["PixelData"].is_undefined_length = True
        return dataset

    def cut(stream: bytearray) -> bytes:
        return bytes(stream[: len(stream) // 3 // 2 * 2])

    def garbled(stream: bytearray) -> bytes:
        noise = numpy.random.default_rng(1).integers(0, 256, len(stream), numpy.uint8).tobytes()
        middle = len(stream) // 3
        return bytes(stream[:middle] + noise[middle:])

    def noise(stream: bytearray) -> bytes:
        return numpy.random.default_rng(2).integers(0, 256, len(stream) // 2 * 2, numpy.uint8).tobytes()

    found = {
        "missing pixels": made(Rows=256),
        "65535 by 65535": made(Rows=65535, Columns=65535),
        "2147483647 frames": made(NumberOfFrames=2**31 - 1),
        "missing samples": made(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0),
    }
    for kind, name in {
        "JPEG": "SC_rgb_jpeg_dcmtk.dcm", "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm", "JPEG 2000": "MR_small_jp2klossless.dcm",
        "RLE": "MR_small_RLE.dcm", "lossless JPEG": "JPEG-LL.dcm",
    }.items():
        found[f"{kind} truncated"] = encoded(name, cut)
        found[f"{kind} garbled"] = encoded(name, garbled)
        found[f"{kind} replaced by noise"] = encoded(name, noise)
        found[f"{kind} of another size"] = encoded(name, bytes)
        found[f"{kind} of another size"].Rows += 1
        found[f"{kind} of 65535 by 65535"] = encoded(name, bytes)
        found[f"{kind} of 65535 by 65535"].Rows = found[f"{kind} of 65535 by 65535"].Columns = 65535
    return found


def peak_memory(server: Gateway) -> int:
    """The peak memory of the process in bytes."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def test_malformed_objects_are_errors_within_the_memory_limit(tmp_path, session_of_requests):
    archive = Orthanc(tmp_path / "orthanc")
    gateway = Gateway(tmp_path, "rendering", archive.dicomweb, archive='synthesize = ["rendered"]\n[render]\nmemory = "64MiB"')
    try:
        objects = malformed()
        for name, dataset in objects.items():
            content = io.BytesIO()
            dataset.save_as(content)
            assert archive.store(session_of_requests, content.getvalue()) == "Success", name
        before = peak_memory(gateway)
        for _ in range(2):
            for name, dataset in objects.items():
                answer = session_of_requests.get(f"{gateway.dicomweb}{path(dataset)}/frames/1/rendered", timeout=300)
                # A garbled stream may still be decodable, as an image of noise.
                is_right = answer.status_code in (404, 413, 501, 502) or answer.status_code == 200 and "garbled" in name
                is_right |= answer.status_code == 200 and name == "2147483647 frames"
                is_right |= answer.status_code == 200 and name in ("JPEG truncated",)
                assert is_right, f"{name}: {answer.status_code} {answer.text[:200]}"
        assert peak_memory(gateway) - before < 96 * MEBIBYTE
        assert requests.get(f"{gateway.admin}/readyz", timeout=300).status_code == 200
        log = gateway.log.read_text()
        assert "CompressedSamples" not in log and "PatientID" not in log
    finally:
        gateway.stop()
        archive.stop()


@pytest.fixture
def session_of_requests():
    with requests.Session() as session:
        yield session
