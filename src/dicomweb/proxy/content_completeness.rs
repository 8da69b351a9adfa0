//! Determines whether a single object, image or HTML page is complete, from its structure. If a body has no length and is not
//! chunked, a lost connection cannot be distinguished from the end of the body (RFC 9112 6.3).

use http::{HeaderMap, header};
use memchr::memmem::{Finder, rfind};

use super::image_completeness::ImageCompleteness;
use super::response_headers::{content_type_of, essence};
use dicom_model::part10::completeness::Part10Completeness;

/// Number of bytes at the end of a page that are searched for the end tag, which comments may follow.
const MAX_END_LEN: usize = 1024;

/// The state between two chunks of a body.
#[derive(Debug)]
pub(crate) enum ContentCompleteness {
    /// A DICOM object (PS3.10).
    Object(Part10Completeness),
    /// A rendered image.
    Image(ImageCompleteness),
    /// An HTML page.
    Page(PageCompleteness),
}

impl ContentCompleteness {
    /// Creates the state for a body with these headers. Returns `None` if the headers contain the length of the body, or if the
    /// structure of its content is not known.
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

    /// Reads the next chunk of the body.
    pub(crate) fn read(&mut self, chunk: &[u8]) {
        match self {
            Self::Object(object) => object.read(chunk),
            Self::Image(image) => image.read(chunk),
            Self::Page(page) => page.read(chunk),
        }
    }

    /// Whether the content is complete after the chunks that have been read.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Object(object) => object.is_complete(),
            Self::Image(image) => image.is_complete(),
            Self::Page(page) => page.is_complete(),
        }
    }
}

/// Determines whether a page with the start tag of `html` also has the end tag. A page may omit both tags (HTML 13.1.2.4).
#[derive(Debug, Default)]
pub(crate) struct PageCompleteness {
    /// The last bytes of the page, in lower case.
    end: Vec<u8>,
    has_start_tag: bool,
}

impl PageCompleteness {
    fn read(&mut self, chunk: &[u8]) {
        self.end.extend(chunk.iter().map(u8::to_ascii_lowercase));
        self.has_start_tag |= Finder::new(b"<html").find(&self.end).is_some();
        let excess_len = self.end.len().saturating_sub(MAX_END_LEN);
        self.end.drain(..excess_len);
    }

    fn is_complete(&self) -> bool {
        !self.has_start_tag || rfind(&self.end, b"</html>").is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_the_end_tag_of_its_root_element_is_incomplete() {
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
