//! Determines whether an image is complete, from its structure (PNG 5.3, JPEG ISO/IEC 10918-1 B.1, GIF89a), if the response does
//! not contain the length of its body.
//!
//! The module reads the lengths of chunks, segments and blocks. It does not decode images.

/// The formats whose end can be detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ImageKind {
    Png,
    Jpeg,
    Gif,
}

/// The state between two chunks of an image.
#[derive(Debug, Default)]
pub(crate) struct ImageCompleteness {
    kind: Option<ImageKind>,
    /// Whether the image is in none of the known formats.
    is_unknown_format: bool,
    /// The bytes of an incomplete header.
    header: Vec<u8>,
    /// The number of bytes before the next header, which are skipped.
    skip_len: u64,
    next: NextHeader,
    is_complete: bool,
}

/// The kind of the header that follows the skipped bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum NextHeader {
    /// The signature of the format.
    #[default]
    Signature,
    /// A chunk of PNG, a marker segment of JPEG, or a block of GIF.
    Block,
    /// The size of a sub-block of GIF.
    SubBlock,
    /// Entropy-coded data of JPEG.
    Scan,
    /// No header: the skipped bytes were the last bytes of the image.
    End,
}

impl ImageCompleteness {
    /// Whether the image is complete, or its format is unknown.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_unknown_format || self.is_complete
    }

    /// Reads the next chunk of the image.
    pub(crate) fn read(&mut self, mut chunk: &[u8]) {
        while !self.is_complete() {
            let skip_len = usize::try_from(self.skip_len).unwrap_or(usize::MAX).min(chunk.len());
            self.skip_len -= skip_len as u64;
            chunk = chunk.get(skip_len..).unwrap_or_default();
            if self.skip_len > 0 {
                return;
            }
            if self.next == NextHeader::End {
                self.is_complete = true;
                return;
            }
            if self.next == NextHeader::Scan && self.header.is_empty() {
                let Some(index) = memchr::memchr(0xff, chunk) else { return };
                chunk = chunk.get(index..).unwrap_or_default();
            }
            let Some((byte, rest)) = chunk.split_first() else { return };
            self.header.push(*byte);
            chunk = rest;
            if self.read_header() {
                self.header.clear();
            }
        }
    }

    /// Reads the header if it is complete; returns whether it is.
    fn read_header(&mut self) -> bool {
        match (self.next, self.kind) {
            (NextHeader::Signature, _) => self.read_signature(),
            (NextHeader::Block, Some(ImageKind::Png)) => self.read_png_chunk(),
            (NextHeader::Block, Some(ImageKind::Jpeg)) => self.read_jpeg_segment(),
            (NextHeader::Block, _) => self.read_gif_block(),
            (NextHeader::SubBlock, _) => self.read_gif_sub_block(),
            (NextHeader::Scan, _) => self.read_jpeg_scan(),
            (NextHeader::End, _) => true,
        }
    }

    /// Reads the signature, which identifies the format.
    fn read_signature(&mut self) -> bool {
        const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
        match self.header.as_slice() {
            PNG => self.set_format(ImageKind::Png),
            [0xff, 0xd8] => self.set_format(ImageKind::Jpeg),
            // The logical screen descriptor follows, with the size of the global color table.
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', rest @ ..] => match rest {
                [_, _, _, _, flags, _, _] => {
                    self.skip_len = color_table_len(*flags);
                    self.set_format(ImageKind::Gif)
                }
                _ => false,
            },
            start if PNG.starts_with(start) || b"\xff\xd8".starts_with(start) => false,
            start if b"GIF87a".starts_with(start) || b"GIF89a".starts_with(start) => false,
            _ => {
                self.is_unknown_format = true;
                true
            }
        }
    }

    /// Continues with the blocks of an image in the format `kind`. Returns `true`, because its signature is complete.
    fn set_format(&mut self, kind: ImageKind) -> bool {
        self.kind = Some(kind);
        self.next = NextHeader::Block;
        true
    }

    /// Reads the length and the type of a PNG chunk; the data and a checksum of 4 bytes follow.
    fn read_png_chunk(&mut self) -> bool {
        let [a, b, c, d, chunk_type @ ..] = self.header.as_slice() else { return false };
        if chunk_type.len() < 4 {
            return false;
        }
        if chunk_type == b"IEND" {
            self.next = NextHeader::End;
        }
        self.skip_len = u64::from(u32::from_be_bytes([*a, *b, *c, *d])) + 4;
        true
    }

    /// Reads a JPEG marker and the length of its segment.
    fn read_jpeg_segment(&mut self) -> bool {
        match *self.header.as_slice() {
            // Fill bytes may precede a marker.
            [0xff, 0xff] => {
                self.header.pop();
                false
            }
            [0xff, 0xd9] => {
                self.is_complete = true;
                true
            }
            [0xff, 0x01 | 0xd0..=0xd8] => true,
            [0xff] | [0xff, _] | [0xff, _, _] => false,
            [0xff, marker, high, low] => {
                self.skip_len = u64::from(u16::from_be_bytes([high, low])).saturating_sub(2);
                self.next = if marker == 0xda { NextHeader::Scan } else { NextHeader::Block };
                true
            }
            // These bytes are not a marker, so the next marker is searched for.
            _ => {
                self.next = NextHeader::Scan;
                true
            }
        }
    }

    /// Reads a marker in entropy-coded data. A restart marker does not end the data.
    fn read_jpeg_scan(&mut self) -> bool {
        match *self.header.as_slice() {
            [0xff] => false,
            [0xff, 0xff] => {
                self.header.pop();
                false
            }
            [0xff, 0 | 0xd0..=0xd7] => true,
            _ => {
                self.next = NextHeader::Block;
                self.read_jpeg_segment()
            }
        }
    }

    /// Reads the first bytes of a GIF block.
    fn read_gif_block(&mut self) -> bool {
        match *self.header.as_slice() {
            // The trailer ends the image.
            [b';'] => {
                self.is_complete = true;
                true
            }
            // An extension has a label before its sub-blocks.
            [b'!', _] => {
                self.next = NextHeader::SubBlock;
                true
            }
            // An image descriptor is followed by the local color table, the size of the LZW codes, and sub-blocks.
            [b',', _, _, _, _, _, _, _, _, flags] => {
                self.skip_len = color_table_len(flags) + 1;
                self.next = NextHeader::SubBlock;
                true
            }
            [b'!' | b',', ..] => false,
            _ => {
                self.is_unknown_format = true;
                true
            }
        }
    }

    /// Reads the size of a GIF sub-block, which is 0 after the last sub-block of a block.
    fn read_gif_sub_block(&mut self) -> bool {
        match *self.header.as_slice() {
            [0] => self.next = NextHeader::Block,
            [length] => self.skip_len = length.into(),
            _ => {}
        }
        true
    }
}

/// Returns the length of a GIF color table in bytes, from the flags of its descriptor.
fn color_table_len(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat};

    use super::*;

    fn is_complete(image: &[u8], size: usize) -> bool {
        let mut completeness = ImageCompleteness::default();
        image.chunks(size).for_each(|chunk| completeness.read(chunk));
        completeness.is_complete()
    }

    fn encode(format: ImageFormat) -> Vec<u8> {
        let image = image::RgbImage::from_fn(17, 9, |x, y| {
            image::Rgb([(x * 15).to_le_bytes()[0], (y * 28).to_le_bytes()[0], 90])
        });
        let mut encoded = std::io::Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut encoded, format).unwrap();
        encoded.into_inner()
    }

    #[test]
    fn an_image_truncated_at_any_byte_is_incomplete() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif] {
            let image = encode(format);
            for size in [1, 7, image.len()] {
                for length in 0..image.len() {
                    assert!(!is_complete(&image[..length], size), "{format:?}: {length} in chunks of {size}");
                }
                assert!(is_complete(&image, size), "{format:?} in chunks of {size}");
            }
        }
    }

    #[test]
    fn the_end_of_a_thumbnail_in_a_jpeg_is_not_the_end_of_the_image() {
        let image = encode(ImageFormat::Jpeg);
        let embedded =
            [&b"\xff\xe1"[..], &u16::try_from(image.len() + 2).unwrap().to_be_bytes(), &image].concat();
        let outer = [&image[..2], &embedded, &image[2..]].concat();
        assert!(!is_complete(&outer[..outer.len() - 1], 64));
        assert!(is_complete(&outer, 64));
    }

    #[test]
    fn an_image_in_an_unknown_format_is_never_incomplete() {
        for other in [&b"RIFF\0\0\0\0WEBP"[..], b"<svg/>", b"\0\0\0\x0cjP  ", b"GIF80a"] {
            assert!(is_complete(other, 3));
        }
        assert!(!is_complete(b"", 1));
    }
}
