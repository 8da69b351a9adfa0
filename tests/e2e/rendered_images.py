"""A reference renderer: the pixels of rendered images, computed only with pydicom, its decoders and numpy."""

import numpy
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array


def render(dataset: Dataset, frame: int = 1) -> numpy.ndarray:
    """Renders a frame, whose number starts at 1. Returns gray levels or colors from 0 to 255 that are not rounded."""
    pixels = pixel_array(dataset, index=frame - 1)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colored = apply_color_lut(pixels, _in_native_order(dataset))
        bits = dataset.RedPaletteColorLookupTableDescriptor[2]
        return colored.astype(float) * 255 / (2**bits - 1)
    if dataset.SamplesPerPixel == 3:
        # pydicom converts all color spaces to RGB.
        return pixels.astype(float) * 255 / (2**dataset.BitsStored - 1)
    return _gray(dataset, pixels, frame)


def _in_native_order(dataset: Dataset) -> Dataset:
    """Returns the palette in little endian, which pydicom expects even in a big-endian data set."""
    if dataset.file_meta.TransferSyntaxUID.is_little_endian or "RedPaletteColorLookupTableData" not in dataset:
        return dataset
    converted = Dataset()
    for color in ("Red", "Green", "Blue"):
        converted[f"{color}PaletteColorLookupTableDescriptor"] = dataset[f"{color}PaletteColorLookupTableDescriptor"]
        entries = numpy.frombuffer(dataset[f"{color}PaletteColorLookupTableData"].value, ">u2")
        setattr(converted, f"{color}PaletteColorLookupTableData", entries.astype("<u2").tobytes())
    return converted


def _gray(dataset: Dataset, pixels: numpy.ndarray, frame: int) -> numpy.ndarray:
    groups = [dataset]
    for sequence, index in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame - 1)):
        if dataset.get(sequence):
            groups.append(dataset[sequence][index])
    attributes = _gray_attributes(dataset, groups)
    quantities = apply_modality_lut(pixels, attributes).astype(float) if "ModalityLUTSequence" not in attributes else apply_modality_lut(pixels, attributes)
    if attributes.get("VOILUTSequence"):
        table = attributes.VOILUTSequence[0]
        levels = apply_voi(quantities.astype(numpy.int64), attributes) / (2 ** table.LUTDescriptor[2] - 1)
    elif attributes.get("WindowWidth"):
        levels = window(quantities, *(_first(attributes[name].value) for name in ("WindowCenter", "WindowWidth")), attributes.get("VOILUTFunction") or "LINEAR")
    elif dataset.BitsStored == 1:
        levels = quantities.astype(float)
    else:
        visible = quantities
        if "PixelPaddingValue" in dataset:
            limits = sorted((dataset.PixelPaddingValue, dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue)))
            visible = quantities[(pixels < limits[0]) | (pixels > limits[1])]
        minimum, maximum = (visible.min(), visible.max()) if visible.size else (0, 0)
        levels = (quantities.astype(float) - minimum) / (maximum - minimum) if maximum > minimum else numpy.zeros(quantities.shape)
    levels = numpy.clip(levels, 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        levels = 1 - levels
    return levels * 255


def _gray_attributes(dataset: Dataset, groups: list[Dataset]) -> Dataset:
    """Returns the attributes of the grayscale transformations: those of the functional groups if they exist, otherwise those of the data set."""
    attributes = Dataset()
    for name in ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "WindowCenter", "WindowWidth",
                 "VOILUTFunction", "PixelRepresentation", "BitsStored"):
        if name in dataset:
            attributes[name] = dataset[name]
    for group in groups[1:]:
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            if group.get(name):
                attributes.update(group[name][0])
    return attributes


def _first(value) -> float:
    return float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)


def window(quantities: numpy.ndarray, center: float, width: float, function: str) -> numpy.ndarray:
    """Applies a window (PS3.3 C.11.2.1.2, C.11.2.1.3). Returns values from 0 to 1."""
    quantities = quantities.astype(float)
    if function == "SIGMOID":
        return 1 / (1 + numpy.exp(-4 * (quantities - center) / width))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (quantities > center).astype(float)
    return numpy.clip((quantities - center) / width + 0.5, 0, 1)
