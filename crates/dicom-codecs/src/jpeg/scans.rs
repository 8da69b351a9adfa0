//! The scans of a JPEG stream (ITU-T T.81 B.2), and the reader that ends decoding.
//!
//! A progressive stream has several scans, and the decoder processes every block of the image for each of them, even if the scan has
//! no data. So a short stream with thousands of scans would take minutes. No supported transfer syntax allows progressive JPEG, but
//! some objects contain it nevertheless.

use std::io::{Error, Read};

use crate::{Cancellation, CodecError};

/// The maximum number of scans. Encoders write at most ten; a stream with a scan for each coefficient bit of the luminance has fewer
/// than thirty.
const MAX_SCANS: usize = 32;

/// The number of reads after which the cancellation is checked.
const READS_PER_CHECK: u32 = 4096;

const START_OF_SCAN: u8 = 0xDA;

/// Rejects a stream with more than [`MAX_SCANS`] scans.
pub(super) fn check_scan_count(stream: &[u8]) -> Result<(), CodecError> {
    // A zero follows each byte 0xFF in the data of a scan (T.81 F.1.2.3), and segments rarely contain the bytes of the marker. So the
    // segments are parsed only if these bytes occur too often.
    let markers = memchr::memmem::find_iter(stream, &[0xFF, START_OF_SCAN]).take(MAX_SCANS + 1);
    let candidate_count = markers.count();
    if candidate_count > MAX_SCANS && count_scans(stream) > MAX_SCANS {
        return Err(CodecError::Unsupported("JPEG with more than 32 scans"));
    }
    Ok(())
}

/// Counts the scans, and stops at one more than [`MAX_SCANS`]. Segments, which may contain any bytes, are skipped.
fn count_scans(stream: &[u8]) -> usize {
    let (mut count, mut position) = (0, 0);
    while count <= MAX_SCANS
        && let Some(offset) = memchr::memchr(0xFF, &stream[position..])
    {
        position += offset + 1;
        let Some(marker) = stream.get(position) else { break };
        match marker {
            // A fill byte, and markers without a segment.
            0xFF => {}
            0x00 | 0x01 | 0xD0..=0xD9 => position += 1,
            marker => {
                count += usize::from(*marker == START_OF_SCAN);
                let length = stream.get(position + 1..position + 3);
                let length = length.map_or(2, |bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])));
                position = (position + 1 + length.max(2)).min(stream.len());
            }
        }
    }
    count
}

/// A stream that ends with an error when the decoding is canceled.
pub(super) struct CancelableStream<'a> {
    rest: &'a [u8],
    cancellation: Cancellation<'a>,
    reads_until_check: u32,
}

impl<'a> CancelableStream<'a> {
    pub(super) fn new(stream: &'a [u8], cancellation: Cancellation<'a>) -> Self {
        Self { rest: stream, cancellation, reads_until_check: 0 }
    }
}

impl Read for CancelableStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.reads_until_check == 0 {
            self.cancellation.check().map_err(Error::other)?;
            self.reads_until_check = READS_PER_CHECK;
        }
        self.reads_until_check -= 1;
        self.rest.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::gray;
    use crate::{Codec, EncodedFrame, FrameLayout, Samples};

    /// A progressive image of 8 by 8 samples, which an encoder wrote in six scans.
    #[rustfmt::skip]
    const PROGRESSIVE: [u8; 284] = [
        255, 216, 255, 224, 0, 16, 74, 70, 73, 70, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 255, 219, 0, 67,
        0, 27, 18, 20, 23, 20, 17, 27, 23, 22, 23, 30, 28, 27, 32, 40, 66, 43, 40, 37, 37, 40, 81, 58,
        61, 48, 66, 96, 85, 101, 100, 95, 85, 93, 91, 106, 120, 153, 129, 106, 113, 144, 115, 91, 93, 133, 181, 134,
        144, 158, 163, 171, 173, 171, 103, 128, 188, 201, 186, 166, 199, 153, 168, 171, 164, 255, 194, 0, 11, 8, 0, 8,
        0, 8, 1, 1, 17, 0, 255, 196, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 1, 255, 218, 0, 8, 1, 1, 0, 0, 0, 1, 63, 255, 196, 0, 21, 16, 1, 1, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 255, 218, 0, 8, 1, 1, 0, 1, 5, 2,
        157, 255, 196, 0, 20, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255,
        218, 0, 8, 1, 1, 0, 6, 63, 2, 127, 255, 196, 0, 22, 16, 0, 3, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 1, 49, 255, 218, 0, 8, 1, 1, 0, 1, 63, 33, 72, 127, 255, 218,
        0, 8, 1, 1, 0, 0, 0, 16, 127, 255, 196, 0, 20, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 255, 218, 0, 8, 1, 1, 0, 1, 63, 16, 47, 255, 217,
    ];

    fn decode(stream: &[u8]) -> Result<Samples, CodecError> {
        let layout = FrameLayout::new(&gray(8, 8, 8, 8)).unwrap();
        Codec::Jpeg.decode(&EncodedFrame::BitStream(stream), &layout).map(|frame| frame.samples)
    }

    /// Repeats the refinement of the DC coefficient, the fifth scan, until the stream has `scan_count` scans.
    fn with_scans(scan_count: usize) -> Vec<u8> {
        let fifth_scan = PROGRESSIVE
            .windows(10)
            .rposition(|bytes| bytes.starts_with(&[0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0x10]));
        let start = fifth_scan.unwrap();
        let scan = &PROGRESSIVE[start..start + 11];
        [&PROGRESSIVE[..start], &scan.repeat(scan_count - 5), &PROGRESSIVE[start + 11..]].concat()
    }

    #[test]
    fn a_progressive_image_with_at_most_32_scans_is_decoded() {
        assert_eq!(count_scans(&PROGRESSIVE), 6);
        assert_eq!(decode(&PROGRESSIVE), decode(&with_scans(6)));
        assert!(decode(&PROGRESSIVE).is_ok() && decode(&with_scans(MAX_SCANS)).is_ok());
    }

    #[test]
    fn a_stream_with_too_many_scans_is_rejected() {
        for count in [MAX_SCANS + 1, 20_000] {
            assert_eq!(
                decode(&with_scans(count)),
                Err(CodecError::Unsupported("JPEG with more than 32 scans"))
            );
        }
    }

    #[test]
    fn markers_in_segments_are_not_counted_as_scans() {
        let mut stream = PROGRESSIVE[..2].to_vec();
        stream.extend([0xFF, 0xFE, 0, 102]);
        stream.extend([0xFF, 0xDA].repeat(50));
        stream.extend(&PROGRESSIVE[2..]);
        assert_eq!(decode(&stream), decode(&PROGRESSIVE));
    }

    #[test]
    fn canceled_decoding_ends_with_an_error() {
        let layout = FrameLayout::new(&gray(8, 8, 8, 8)).unwrap();
        let frame = EncodedFrame::BitStream(&PROGRESSIVE);
        let result = Codec::Jpeg.decode_unless_canceled(&frame, &layout, Cancellation::new(&|| true));
        assert_eq!(result, Err(CodecError::Canceled));
    }
}
