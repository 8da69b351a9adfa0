//! Decides whether an image is complete by its own structure (PNG 5.3, JPEG ISO 10918-1 B.1, GIF89a): for bodies whose end only the
//! end of the connection shows.
//!
//! Reads the lengths of chunks, segments and blocks; does not decode.

/// The formats whose end is known.
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
    /// The beginning was read, and is not that of a known format.
    is_other: bool,
    /// Bytes of a header that has not arrived completely.
    header: Vec<u8>,
    /// Bytes that need not be read.
    skipped: u64,
    next: Item,
    is_complete: bool,
}

/// What comes after the skipped bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Item {
    /// The signature of the format.
    #[default]
    Signature,
    /// A chunk of PNG, a marker segment of JPEG, or a block of GIF.
    Block,
    /// The size of a sub-block of GIF.
    SubBlock,
    /// Entropy-coded data of JPEG.
    Scan,
    /// The end, which was skipped to.
    End,
}

impl ImageCompleteness {
    /// Whether the image is complete, or in a format whose end is not known.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_other || self.is_complete
    }

    pub(crate) fn read(&mut self, mut chunk: &[u8]) {
        while !self.is_complete() {
            let skipped = usize::try_from(self.skipped).unwrap_or(usize::MAX).min(chunk.len());
            self.skipped -= skipped as u64;
            chunk = chunk.get(skipped..).unwrap_or_default();
            if self.skipped > 0 {
                return;
            }
            if self.next == Item::End {
                self.is_complete = true;
                return;
            }
            if self.next == Item::Scan && self.header.is_empty() {
                let Some(at) = memchr::memchr(0xff, chunk) else { return };
                chunk = chunk.get(at..).unwrap_or_default();
            }
            let Some((first, rest)) = chunk.split_first() else { return };
            self.header.push(*first);
            chunk = rest;
            if self.step() {
                self.header.clear();
            }
        }
    }

    /// Reads the header as far as it has arrived; returns whether it is complete.
    fn step(&mut self) -> bool {
        match (self.next, self.kind) {
            (Item::Signature, _) => self.signature(),
            (Item::Block, Some(ImageKind::Png)) => self.png_chunk(),
            (Item::Block, Some(ImageKind::Jpeg)) => self.jpeg_segment(),
            (Item::Block, _) => self.gif_block(),
            (Item::SubBlock, _) => self.gif_sub_block(),
            (Item::Scan, _) => self.jpeg_scan(),
            (Item::End, _) => true,
        }
    }

    fn signature(&mut self) -> bool {
        const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
        match self.header.as_slice() {
            PNG => self.begins(ImageKind::Png),
            [0xff, 0xd8] => self.begins(ImageKind::Jpeg),
            // The logical screen descriptor follows, with the size of the global color table.
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', rest @ ..] => match rest {
                [_, _, _, _, flags, _, _] => {
                    self.skipped = color_table_len(*flags);
                    self.begins(ImageKind::Gif)
                }
                _ => false,
            },
            start if PNG.starts_with(start) || b"\xff\xd8".starts_with(start) => false,
            start if b"GIF87a".starts_with(start) || b"GIF89a".starts_with(start) => false,
            _ => {
                self.is_other = true;
                true
            }
        }
    }

    fn begins(&mut self, kind: ImageKind) -> bool {
        self.kind = Some(kind);
        self.next = Item::Block;
        true
    }

    /// Length, type, data, checksum.
    fn png_chunk(&mut self) -> bool {
        let [a, b, c, d, kind @ ..] = self.header.as_slice() else { return false };
        if kind.len() < 4 {
            return false;
        }
        if kind == b"IEND" {
            self.next = Item::End;
        }
        self.skipped = u64::from(u32::from_be_bytes([*a, *b, *c, *d])) + 4;
        true
    }

    /// A marker, and the length of its segment.
    fn jpeg_segment(&mut self) -> bool {
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
                self.skipped = u64::from(u16::from_be_bytes([high, low])).saturating_sub(2);
                self.next = if marker == 0xda { Item::Scan } else { Item::Block };
                true
            }
            // Not a marker; the next one is searched for.
            _ => {
                self.next = Item::Scan;
                true
            }
        }
    }

    /// Entropy-coded data, up to a marker that is no restart marker.
    fn jpeg_scan(&mut self) -> bool {
        match *self.header.as_slice() {
            [0xff] => false,
            [0xff, 0xff] => {
                self.header.pop();
                false
            }
            [0xff, 0 | 0xd0..=0xd7] => true,
            _ => {
                self.next = Item::Block;
                self.jpeg_segment()
            }
        }
    }

    fn gif_block(&mut self) -> bool {
        match *self.header.as_slice() {
            // The trailer.
            [b';'] => {
                self.is_complete = true;
                true
            }
            // An extension with its label.
            [b'!', _] => {
                self.next = Item::SubBlock;
                true
            }
            // An image with its descriptor; the size of LZW codes follows the local color table.
            [b',', _, _, _, _, _, _, _, _, flags] => {
                self.skipped = color_table_len(flags) + 1;
                self.next = Item::SubBlock;
                true
            }
            [b'!' | b',', ..] => false,
            _ => {
                self.is_other = true;
                true
            }
        }
    }

    fn gif_sub_block(&mut self) -> bool {
        match *self.header.as_slice() {
            [0] => self.next = Item::Block,
            [length] => self.skipped = length.into(),
            _ => {}
        }
        true
    }
}

/// The length of a color table of GIF, from the flags of its descriptor.
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

    fn encoded(format: ImageFormat) -> Vec<u8> {
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
            let image = encoded(format);
            for size in [1, 7, image.len()] {
                for length in 0..image.len() {
                    assert!(!is_complete(&image[..length], size), "{format:?}: {length} in chunks of {size}");
                }
                assert!(is_complete(&image, size), "{format:?} in chunks of {size}");
            }
        }
    }

    #[test]
    fn a_thumbnail_inside_a_jpeg_does_not_end_it() {
        let image = encoded(ImageFormat::Jpeg);
        let embedded =
            [&b"\xff\xe1"[..], &u16::try_from(image.len() + 2).unwrap().to_be_bytes(), &image].concat();
        let outer = [&image[..2], &embedded, &image[2..]].concat();
        assert!(!is_complete(&outer[..outer.len() - 1], 64));
        assert!(is_complete(&outer, 64));
    }

    #[test]
    fn other_formats_are_never_incomplete() {
        for other in [&b"RIFF\0\0\0\0WEBP"[..], b"<svg/>", b"\0\0\0\x0cjP  ", b"GIF80a"] {
            assert!(is_complete(other, 3));
        }
        assert!(!is_complete(b"", 1));
    }
}
