"""What a picture of an image must look like, made by pydicom, its decoders and numpy alone."""

import numpy
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array


def expected(dataset: Dataset, frame: int = 1) -> numpy.ndarray:
    """A frame, counted from 1: levels of grey or colours from 0 to 255, not yet rounded."""
    pixels = pixel_array(dataset, index=frame - 1)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(pixels, _in_native_order(dataset))
        bits = dataset.RedPaletteColorLookupTableDescriptor[2]
        return coloured.astype(float) * 255 / (2**bits - 1)
    if dataset.SamplesPerPixel == 3:
        # pydicom has made it RGB.
        return pixels.astype(float) * 255 / (2**dataset.BitsStored - 1)
    return _grey(dataset, pixels, frame)


def _in_native_order(dataset: Dataset) -> Dataset:
    """pydicom takes the entries of a palette for little endian whatever they are."""
    if dataset.file_meta.TransferSyntaxUID.is_little_endian or "RedPaletteColorLookupTableData" not in dataset:
        return dataset
    turned = Dataset()
    for colour in ("Red", "Green", "Blue"):
        turned[f"{colour}PaletteColorLookupTableDescriptor"] = dataset[f"{colour}PaletteColorLookupTableDescriptor"]
        entries = numpy.frombuffer(dataset[f"{colour}PaletteColorLookupTableData"].value, ">u2")
        setattr(turned, f"{colour}PaletteColorLookupTableData", entries.astype("<u2").tobytes())
    return turned


def _grey(dataset: Dataset, pixels: numpy.ndarray, frame: int) -> numpy.ndarray:
    groups = [dataset]
    for sequence, index in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame - 1)):
        if dataset.get(sequence):
            groups.append(dataset[sequence][index])
    look = _look(dataset, groups)
    quantities = apply_modality_lut(pixels, look).astype(float) if "ModalityLUTSequence" not in look else apply_modality_lut(pixels, look)
    if look.get("VOILUTSequence"):
        table = look.VOILUTSequence[0]
        levels = apply_voi(quantities.astype(numpy.int64), look) / (2 ** table.LUTDescriptor[2] - 1)
    elif look.get("WindowWidth"):
        levels = window(quantities, *(_first(look[name].value) for name in ("WindowCenter", "WindowWidth")), look.get("VOILUTFunction") or "LINEAR")
    elif dataset.BitsStored == 1:
        levels = quantities.astype(float)
    else:
        seen = quantities
        if "PixelPaddingValue" in dataset:
            limits = sorted((dataset.PixelPaddingValue, dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue)))
            seen = quantities[(pixels < limits[0]) | (pixels > limits[1])]
        least, most = (seen.min(), seen.max()) if seen.size else (0, 0)
        levels = (quantities.astype(float) - least) / (most - least) if most > least else numpy.zeros(quantities.shape)
    levels = numpy.clip(levels, 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        levels = 1 - levels
    return levels * 255


def _look(dataset: Dataset, groups: list[Dataset]) -> Dataset:
    """The attributes that decide on grey, of the frame where it has its own."""
    look = Dataset()
    for name in ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "WindowCenter", "WindowWidth",
                 "VOILUTFunction", "PixelRepresentation", "BitsStored"):
        if name in dataset:
            look[name] = dataset[name]
    for group in groups[1:]:
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            if group.get(name):
                look.update(group[name][0])
    return look


def _first(value) -> float:
    return float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)


def window(quantities: numpy.ndarray, center: float, width: float, function: str) -> numpy.ndarray:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, from 0 to 1."""
    quantities = quantities.astype(float)
    if function == "SIGMOID":
        return 1 / (1 + numpy.exp(-4 * (quantities - center) / width))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (quantities > center).astype(float)
    return numpy.clip((quantities - center) / width + 0.5, 0, 1)
