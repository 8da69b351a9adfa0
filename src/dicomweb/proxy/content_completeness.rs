//! Decides whether a single object, image or page is complete by its own structure. Where a body has no length and is not chunked, a
//! connection that broke looks like its end (RFC 9112 6.3).

use http::{HeaderMap, header};
use memchr::memmem::{Finder, rfind};

use super::image_completeness::ImageCompleteness;
use super::response_headers::{content_type_of, essence};
use dicom_model::part10::completeness::Part10Completeness;

/// The end of a page may be followed by comments.
const MAX_END_LEN: usize = 1024;

/// The state between two chunks of a body.
#[derive(Debug)]
pub(crate) enum ContentCompleteness {
    Object(Part10Completeness),
    Image(ImageCompleteness),
    Page(PageCompleteness),
}

impl ContentCompleteness {
    /// For a body with these headers whose end only the end of the connection shows; `None` if its structure is not known.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        if headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING)
            || headers.contains_key(header::CONTENT_RANGE)
            || headers.contains_key(header::CONTENT_ENCODING)
        {
            return None;
        }
        match essence(&content_type_of(headers)).as_str() {
            "application/dicom" => Some(Self::Object(Part10Completeness::default())),
            "text/html" => Some(Self::Page(PageCompleteness::default())),
            other if other.starts_with("image/") => Some(Self::Image(ImageCompleteness::default())),
            _ => None,
        }
    }

    pub(crate) fn read(&mut self, chunk: &[u8]) {
        match self {
            Self::Object(object) => object.read(chunk),
            Self::Image(image) => image.read(chunk),
            Self::Page(page) => page.read(chunk),
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Object(object) => object.is_complete(),
            Self::Image(image) => image.is_complete(),
            Self::Page(page) => page.is_complete(),
        }
    }
}

/// Whether a page whose `html` element begins also ends it. A page without that tag may omit its end, too (HTML 13.1.2.4).
#[derive(Debug, Default)]
pub(crate) struct PageCompleteness {
    /// The last bytes in lower case.
    end: Vec<u8>,
    has_begun: bool,
}

impl PageCompleteness {
    fn read(&mut self, chunk: &[u8]) {
        self.end.extend(chunk.iter().map(u8::to_ascii_lowercase));
        self.has_begun |= Finder::new(b"<html").find(&self.end).is_some();
        let superfluous = self.end.len().saturating_sub(MAX_END_LEN);
        self.end.drain(..superfluous);
    }

    fn is_complete(&self) -> bool {
        !self.has_begun || rfind(&self.end, b"</html>").is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_the_end_of_its_root_element_is_incomplete() {
        let page = b"<!doctype html>\n<HTML lang=\"en\"><body><p>report</p></body></Html>";
        for size in [1, 7, 100] {
            for (length, is_complete) in [(25, false), (page.len() - 1, false), (page.len(), true)] {
                let mut completeness = PageCompleteness::default();
                page[..length].chunks(size).for_each(|chunk| completeness.read(chunk));
                assert_eq!(completeness.is_complete(), is_complete, "{length} in chunks of {size}");
            }
        }
    }
}
