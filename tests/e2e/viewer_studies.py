"""Synthetic studies of kinds that the sample studies lack, with small pixel data.

A structured report, a structure set, a document, a slide and a video.
"""

import io

import numpy
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    BasicTextSRStorage, CTImageStorage, EncapsulatedPDFStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit, MPEG4HP41,
    RTStructureSetStorage, VideoPhotographicImageStorage, VLWholeSlideMicroscopyImageStorage,
)

ROOT_UID = "2.25.271828182845904523536028747135266249775"
# The number of each study, the last component of its UID.
STRUCTURE_SET, DOCUMENT, SLIDE, VIDEO, REPORT = range(1, 6)
EDGE = 64
SLICES = 4


def study_uid(study: int) -> str:
    return f"{ROOT_UID}.{study}"


def write_object(study: int, series: int, instance: int, sop_class: str, modality: str, transfer_syntax: str = ExplicitVRLittleEndian, **elements) -> bytes:
    """Returns a file with the patient, study, series and instance of these numbers, and the other elements by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"{study_uid(study)}.{series}.{instance}"
    meta.TransferSyntaxUID = transfer_syntax
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    for keyword, value in {
        "SOPClassUID": sop_class, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": study_uid(study), "SeriesInstanceUID": f"{study_uid(study)}.{series}",
        "PatientName": f"Tour^{modality}", "PatientID": f"TOUR-{study}", "PatientBirthDate": "19700101", "PatientSex": "O",
        "StudyDate": "20240102", "StudyTime": "030405", "StudyID": str(study), "AccessionNumber": f"T{study}",
        "ReferringPhysicianName": "", "Modality": modality, "Manufacturer": "Synthetic", "SeriesNumber": str(series),
        "InstanceNumber": str(instance), **elements,
    }.items():
        setattr(dataset, keyword, value)
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def item(**elements) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def gradient(index: int) -> numpy.ndarray:
    """Returns an image with a diagonal gradient and a bright square whose place depends on the index."""
    rows, columns = numpy.mgrid[0:EDGE, 0:EDGE]
    image = (rows + columns).astype(numpy.uint8)
    image[8 * index + 4:8 * index + 12, 8:24] = 255
    return image


def jpeg(image: numpy.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=90)
    return content.getvalue()


def structure_set() -> list[bytes]:
    """Returns a CT series and a structure set with a square contour on each of its slices."""
    frame_of_reference = f"{study_uid(STRUCTURE_SET)}.100"
    slices = [
        write_object(
            STRUCTURE_SET, 1, number, CTImageStorage, "CT", SeriesDescription="Planning CT", FrameOfReferenceUID=frame_of_reference,
            PositionReferenceIndicator="", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], ImagePositionPatient=[0, 0, 3 * number],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[1, 1], SliceThickness=3, Rows=EDGE, Columns=EDGE, SamplesPerPixel=1,
            PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=0,
            RescaleIntercept=-100, RescaleSlope=1, RescaleType="HU", WindowCenter=0, WindowWidth=256,
            PixelData=gradient(number).astype("<u2").tobytes(),
        )
        for number in range(1, SLICES + 1)
    ]
    images = Sequence([
        item(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=f"{study_uid(STRUCTURE_SET)}.1.{number}") for number in range(1, SLICES + 1)
    ])
    contours = Sequence([
        item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=4, ContourImageSequence=Sequence([images[number - 1]]),
             ContourData=[16, 16, 3 * number, 48, 16, 3 * number, 48, 48, 3 * number, 16, 48, 3 * number])
        for number in range(1, SLICES + 1)
    ])
    referenced_series = item(SeriesInstanceUID=f"{study_uid(STRUCTURE_SET)}.1", ContourImageSequence=images)
    referenced_study = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID=study_uid(STRUCTURE_SET),
        RTReferencedSeriesSequence=Sequence([referenced_series]),
    )
    structures = write_object(
        STRUCTURE_SET, 2, 1, RTStructureSetStorage, "RTSTRUCT", SeriesDescription="Structures", FrameOfReferenceUID=frame_of_reference,
        StructureSetLabel="TARGET", StructureSetDate="20240102", StructureSetTime="030405", ApprovalStatus="UNAPPROVED",
        ReferencedFrameOfReferenceSequence=Sequence([
            item(FrameOfReferenceUID=frame_of_reference, RTReferencedStudySequence=Sequence([referenced_study]))
        ]),
        StructureSetROISequence=Sequence([
            item(ROINumber=1, ReferencedFrameOfReferenceUID=frame_of_reference, ROIName="Target", ROIGenerationAlgorithm="MANUAL")
        ]),
        ROIContourSequence=Sequence([item(ROIDisplayColor=[255, 0, 0], ReferencedROINumber=1, ContourSequence=contours)]),
        RTROIObservationsSequence=Sequence([item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="GTV", ROIInterpreter="")]),
    )
    return [*slices, structures]


def report() -> list[bytes]:
    """Returns a report whose content items all have a concept name: OHIF 3.13 fails at others, which PS3.3 C.17.3 allows."""
    def content_item(value_type, concept, **elements):
        return item(RelationshipType="CONTAINS", ValueType=value_type, ConceptNameCodeSequence=Sequence([concept]), **elements)

    sections = [
        (code("121070", "DCM", "Findings"), "A bright square on a diagonal gradient."),
        (code("121076", "DCM", "Conclusions"), "A synthetic image."),
    ]
    return [write_object(
        REPORT, 1, 1, BasicTextSRStorage, "SR", SeriesDescription="Structured report", ContentDate="20240102", ContentTime="030405",
        CompletionFlag="COMPLETE", VerificationFlag="UNVERIFIED", PerformedProcedureCodeSequence=Sequence(),
        ReferencedPerformedProcedureStepSequence=Sequence(),
        ValueType="CONTAINER", ContinuityOfContent="SEPARATE", ConceptNameCodeSequence=Sequence([code("18748-4", "LN", "Diagnostic imaging report")]),
        ContentSequence=Sequence([
            content_item("CONTAINER", concept, ContinuityOfContent="SEPARATE",
                         ContentSequence=Sequence([content_item("TEXT", code("121071", "DCM", "Finding"), TextValue=text)]))
            for concept, text in sections
        ]),
    )]


def pdf() -> bytes:
    """Returns a PDF document with one page and one line of text."""
    text = b"BT /F1 36 Tf 60 700 Td (A document of the tour) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        # Without a title, the viewer for documents shows a part of the URL.
        b"<< /Title (A document of the tour) >>",
    ]
    content, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    return content + b"trailer << /Size %d /Root 1 0 R /Info 6 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)


def document() -> list[bytes]:
    content = pdf()
    return [write_object(
        DOCUMENT, 1, 1, EncapsulatedPDFStorage, "DOC", SeriesDescription="Report", ConversionType="WSD", BurnedInAnnotation="NO",
        DocumentTitle="A document of the tour", MIMETypeOfEncapsulatedDocument="application/pdf", EncapsulatedDocumentLength=len(content),
        EncapsulatedDocument=content + b"\0" * (len(content) % 2),
    )]


def slide() -> list[bytes]:
    """Returns a slide at two magnifications: four tiles, and an overview with one."""
    def color(index):
        return numpy.dstack([gradient(index), numpy.rot90(gradient(index)), numpy.full((EDGE, EDGE), 40 * index, numpy.uint8)])

    def level(number, tiles_per_edge, resolution):
        tiles = tiles_per_edge ** 2
        return write_object(
            SLIDE, 1, number, VLWholeSlideMicroscopyImageStorage, "SM", JPEGBaseline8Bit, SeriesDescription="Slide",
            ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE" if number == 1 else "RESAMPLED"],
            FrameOfReferenceUID=f"{study_uid(SLIDE)}.100", PositionReferenceIndicator="SLIDE_CORNER",
            ContainerIdentifier="SLIDE-1", SpecimenLabelInImage="NO", BurnedInAnnotation="NO", VolumetricProperties="VOLUME",
            DimensionOrganizationType="TILED_FULL", NumberOfFrames=tiles, Rows=EDGE, Columns=EDGE, SamplesPerPixel=3, PlanarConfiguration=0,
            PhotometricInterpretation="YBR_FULL_422", BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0,
            LossyImageCompression="01", LossyImageCompressionMethod="ISO_10918_1", LossyImageCompressionRatio=5,
            TotalPixelMatrixRows=EDGE * tiles_per_edge, TotalPixelMatrixColumns=EDGE * tiles_per_edge, TotalPixelMatrixFocalPlanes=1,
            NumberOfOpticalPaths=1, ImagedVolumeWidth=1, ImagedVolumeHeight=1, ImagedVolumeDepth=0.001, ImageOrientationSlide=[0, -1, 0, -1, 0, 0],
            TotalPixelMatrixOriginSequence=Sequence([item(XOffsetInSlideCoordinateSystem=20, YOffsetInSlideCoordinateSystem=40)]),
            OpticalPathSequence=Sequence([item(
                OpticalPathIdentifier="1", IlluminationColorCodeSequence=Sequence([code("414298005", "SCT", "Full Spectrum")]),
                IlluminationTypeCodeSequence=Sequence([code("111744", "DCM", "Brightfield illumination")]),
            )]),
            SpecimenDescriptionSequence=Sequence([item(SpecimenIdentifier="SPECIMEN-1", SpecimenUID=f"{study_uid(SLIDE)}.101")]),
            SharedFunctionalGroupsSequence=Sequence([item(
                PixelMeasuresSequence=Sequence([item(PixelSpacing=[resolution, resolution], SliceThickness=0.001)]),
                WholeSlideMicroscopyImageFrameTypeSequence=Sequence([item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])]),
            )]),
            PixelData=encapsulate([jpeg(color(index)) for index in range(tiles)]),
        )

    return [level(1, 2, 1 / 128), level(2, 1, 1 / 64)]


def code(value: str, scheme: str, meaning: str) -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def video() -> list[bytes]:
    """Returns a video with the header of an MP4 file only: no browser decodes it, and Orthanc does not render videos."""
    content = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    return [write_object(
        VIDEO, 1, 1, VideoPhotographicImageStorage, "XC", MPEG4HP41, SeriesDescription="Video", ImageType=["ORIGINAL", "PRIMARY"],
        NumberOfFrames=4, Rows=EDGE, Columns=EDGE, SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="YBR_PARTIAL_420",
        BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, CineRate=4, FrameTime=250, FrameIncrementPointer=0x00181063,
        LossyImageCompression="01", LossyImageCompressionMethod="ISO_14496_10", LossyImageCompressionRatio=5,
        PixelData=encapsulate([content]),
    )]


def all_files() -> list[bytes]:
    """Returns the files of all studies."""
    return [*structure_set(), *report(), *document(), *slide(), *video()]
