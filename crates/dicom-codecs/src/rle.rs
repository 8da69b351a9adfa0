//! Decodes RLE Lossless (PS3.5 Annex G): one segment per byte of each sample, packed like TIFF PackBits.

use std::ops::{BitOrAssign, Shl};

use crate::{CodecError, FrameLayout, Samples};

const MALFORMED: CodecError = CodecError::Malformed("RLE");

/// The length of the RLE header in bytes, which is the offset of the first segment (PS3.5 G.5).
const HEADER_LENGTH: usize = 64;

/// Decodes the frame in `stream` and returns its samples.
pub(crate) fn decode(stream: &[u8], layout: &FrameLayout) -> Result<Samples, CodecError> {
    match layout.bits_allocated {
        bits @ (8 | 16) => unpack_segments(stream, bits as usize / 8, layout).map(Samples::U16),
        32 => unpack_segments(stream, 4, layout).map(Samples::U32),
        _ => Err(MALFORMED),
    }
}

/// Unpacks all segments and returns the samples. A segment contains one byte of each sample of a component.
fn unpack_segments<T>(stream: &[u8], sample_size: usize, layout: &FrameLayout) -> Result<Vec<T>, CodecError>
where
    T: Copy + Default + From<u8> + Shl<usize, Output = T> + BitOrAssign,
{
    let header_field = |index: usize| {
        let bytes = stream.get(4 * index..4 * index + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let segment_count = layout.samples_per_pixel * sample_size;
    if header_field(0) != Some(segment_count) {
        return Err(MALFORMED);
    }
    let mut samples = vec![T::default(); layout.sample_count()];
    for segment in 0..segment_count {
        let start = header_field(1 + segment).filter(|start| *start >= HEADER_LENGTH).ok_or(MALFORMED)?;
        let end = if segment + 1 < segment_count {
            header_field(2 + segment).ok_or(MALFORMED)?
        } else {
            stream.len()
        };
        let packed = stream.get(start..end).ok_or(MALFORMED)?;
        // The most significant byte comes first.
        let shift = 8 * (sample_size - 1 - segment % sample_size);
        unpack(packed, shift, samples[segment / sample_size..].iter_mut().step_by(layout.samples_per_pixel))?;
    }
    Ok(samples)
}

/// Adds the unpacked bytes to the samples of `plane`, shifted by `shift` bits.
fn unpack<'a, T>(
    packed: &[u8],
    shift: usize,
    mut plane: impl ExactSizeIterator<Item = &'a mut T>,
) -> Result<(), CodecError>
where
    T: From<u8> + Shl<usize, Output = T> + BitOrAssign + 'a,
{
    let mut bytes = packed.iter();
    let mut remaining_count = plane.len();
    while remaining_count > 0 {
        let count = usize::from(*bytes.next().ok_or(MALFORMED)?);
        match count {
            // A literal run; the other arm is a replicate run. The last run of some writers exceeds the end of the plane.
            0..=127 => {
                for _ in 0..=count {
                    let byte = *bytes.next().ok_or(MALFORMED)?;
                    if let Some(sample) = plane.next() {
                        *sample |= T::from(byte) << shift;
                    }
                }
                remaining_count = remaining_count.saturating_sub(count + 1);
            }
            128 => {}
            _ => {
                let byte = *bytes.next().ok_or(MALFORMED)?;
                for sample in plane.by_ref().take(257 - count) {
                    *sample |= T::from(byte) << shift;
                }
                remaining_count = remaining_count.saturating_sub(257 - count);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::tests::gray;
    use crate::{ImagePixel, PhotometricInterpretation};

    /// Returns a frame of these packed segments.
    fn stream(segments: &[&[u8]]) -> Vec<u8> {
        let mut header = vec![u32::try_from(segments.len()).unwrap()];
        let mut start = 64;
        for segment in segments {
            header.push(start);
            start += u32::try_from(segment.len()).unwrap();
        }
        header.resize(16, 0);
        let mut stream: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
        stream.extend(segments.concat());
        stream
    }

    fn layout(bits: u16) -> FrameLayout {
        FrameLayout::new(&gray(2, 2, bits, bits)).unwrap()
    }

    fn rgb() -> FrameLayout {
        let rgb = PhotometricInterpretation::Rgb;
        let attributes =
            ImagePixel { samples_per_pixel: 3, photometric_interpretation: rgb, ..gray(1, 2, 8, 8) };
        FrameLayout::new(&attributes).unwrap()
    }

    #[test]
    fn literal_and_replicate_runs_are_unpacked_and_128_is_ignored() {
        let packed = stream(&[&[1, 7, 8, 128, 255, 9]]);
        assert_eq!(decode(&packed, &layout(8)), Ok(Samples::U16(vec![7, 8, 9, 9])));
    }

    #[test]
    fn segments_are_bytes_of_samples_the_most_significant_first() {
        let [high, low] = [[253, 1], [253, 2]];
        assert_eq!(decode(&stream(&[&high, &low]), &layout(16)), Ok(Samples::U16(vec![0x0102; 4])));
        let segments_of_32_bits = stream(&[&high, &low, &[253, 3], &[253, 4]]);
        assert_eq!(decode(&segments_of_32_bits, &layout(32)), Ok(Samples::U32(vec![0x0102_0304; 4])));
        let colors = stream(&[&[1, 1, 2], &[1, 3, 4], &[1, 5, 6]]);
        assert_eq!(decode(&colors, &rgb()), Ok(Samples::U16(vec![1, 3, 5, 2, 4, 6])));
    }

    #[test]
    fn the_last_run_may_exceed_the_end() {
        assert_eq!(decode(&stream(&[&[129, 5]]), &layout(8)), Ok(Samples::U16(vec![5; 4])));
        assert_eq!(decode(&stream(&[&[4, 1, 2, 3, 4, 5]]), &layout(8)), Ok(Samples::U16(vec![1, 2, 3, 4])));
    }

    #[test]
    fn a_frame_that_is_truncated_or_has_another_number_of_segments_is_rejected() {
        let complete = stream(&[&[1, 7, 8], &[3, 1, 2, 3, 4]]);
        assert_eq!(decode(&complete, &layout(8)), Err(MALFORMED), "two segments for samples of one byte");
        assert_eq!(decode(&complete, &layout(16)), Err(MALFORMED), "the first segment has two of four bytes");
        let complete = stream(&[&[253, 7], &[3, 1, 2, 3, 4]]);
        assert!(decode(&complete, &layout(16)).is_ok());
        for length in 0..complete.len() {
            assert_eq!(decode(&complete[..length], &layout(16)), Err(MALFORMED), "{length}");
        }
        assert_eq!(decode(&complete, &layout(1)), Err(MALFORMED));
    }

    proptest! {
        #[test]
        fn no_stream_makes_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut stream = stream(&[&[253, 7], &[3, 1, 2, 3, 4]]);
            for (replaced, byte) in stream.iter_mut().skip(1).zip(bytes) {
                *replaced = byte;
            }
            let _ = decode(&stream, &layout(16));
        }
    }
}
