//! Compares the peak memory of decoding with [`Codec::max_memory`]. This is a separate program without a test harness, because its
//! allocator counts the allocations of the whole process, including the threads of a harness.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use dicom_codecs::{
    ByteOrder, Codec, DecodedFrame, EncodedFrame, FrameLayout, ImagePixel, PhotometricInterpretation,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const RGB: PhotometricInterpretation = PhotometricInterpretation::Rgb;
const GRAY: PhotometricInterpretation = PhotometricInterpretation::Monochrome2;

fn image(
    rows: u16,
    columns: u16,
    bits: u16,
    photometric_interpretation: PhotometricInterpretation,
) -> ImagePixel {
    ImagePixel {
        rows,
        columns,
        samples_per_pixel: if photometric_interpretation.is_monochrome() { 1 } else { 3 },
        photometric_interpretation,
        bits_allocated: bits,
        bits_stored: bits,
        high_bit: bits - 1,
        is_signed: false,
        is_planar: false,
    }
}

/// Decodes the frame and checks the peak memory.
fn decode(codec: Codec, frame: &EncodedFrame<'_>, attributes: &ImagePixel) -> DecodedFrame {
    let layout = FrameLayout::new(attributes).unwrap();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let decoded = codec.decode(frame, &layout).unwrap();
    let peak = ALLOCATOR.peak_usage() - before;
    let limit = codec.max_memory(&layout);
    assert!(peak <= limit, "{codec:?} allocates {peak} bytes, above the limit of {limit}: {attributes:?}");
    assert_eq!(decoded.samples.len(), layout.sample_count());
    decoded
}

/// Returns an RLE frame whose segments repeat one byte.
fn rle(attributes: &ImagePixel) -> Vec<u8> {
    let segment_count =
        usize::from(attributes.samples_per_pixel) * usize::from(attributes.bits_allocated) / 8;
    let pixel_count = usize::from(attributes.rows) * usize::from(attributes.columns);
    let segment = [129_u8, 1].repeat(pixel_count.div_ceil(128));
    let starts = (0..segment_count).map(|index| 64 + index * segment.len());
    let mut header: Vec<u32> =
        std::iter::once(segment_count).chain(starts).map(|field| field.try_into().unwrap()).collect();
    header.resize(16, 0);
    let header: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    [header, segment.repeat(segment_count)].concat()
}

/// Returns a JPEG-LS frame that consists of runs only: all its bits are ones.
fn jpeg_ls(attributes: &ImagePixel) -> Vec<u8> {
    let component_count = u8::try_from(attributes.samples_per_pixel).unwrap();
    let bits = u8::try_from(attributes.bits_allocated).unwrap();
    let segment = |marker: u8, content: &[u8]| {
        let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, marker][..], &length, content].concat()
    };
    let size = [attributes.rows.to_be_bytes(), attributes.columns.to_be_bytes()].concat();
    let frame_components: Vec<u8> =
        (1..=component_count).flat_map(|identifier| [identifier, 0x11, 0]).collect();
    let scan_components: Vec<u8> = (1..=component_count).flat_map(|identifier| [identifier, 0]).collect();
    let interleave_mode = if component_count == 1 { 0 } else { 2 };
    [
        vec![0xFF, 0xD8],
        segment(0xF7, &[&[bits][..], &size, &[component_count], &frame_components].concat()),
        segment(0xDA, &[&[component_count][..], &scan_components, &[0, interleave_mode, 0]].concat()),
        [0xFF, 0x7F].repeat(usize::from(attributes.rows) * usize::from(attributes.columns)),
    ]
    .concat()
}

fn main() {
    decoding_allocates_no_more_than_max_memory();
}

fn decoding_allocates_no_more_than_max_memory() {
    for (rows, columns) in [(1, 60_000), (60_000, 1), (300, 300), (1, 2)] {
        for bits in [8, 16, 32] {
            for attributes in [image(rows, columns, bits, GRAY), image(rows, columns, bits, RGB)] {
                let size = usize::from(rows) * usize::from(columns) * usize::from(bits) / 8;
                let bytes = vec![1; size * usize::from(attributes.samples_per_pixel)];
                for byte_order in [ByteOrder::LittleEndian, ByteOrder::BigEndianWords] {
                    for is_planar in [false, true] {
                        let native = EncodedFrame::Native { bytes: &bytes, bit_offset: 0, byte_order };
                        decode(Codec::Native, &native, &ImagePixel { is_planar, ..attributes });
                    }
                }
                let stream = rle(&attributes);
                decode(Codec::Rle, &EncodedFrame::BitStream(&stream), &attributes);
                if bits < 32 {
                    let stream = jpeg_ls(&attributes);
                    decode(Codec::JpegLs, &EncodedFrame::BitStream(&stream), &attributes);
                }
            }
        }
    }
}
