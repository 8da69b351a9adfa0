//! How octets or frames that are put together here are packed (PS3.18 8.7.3): as parts, or the one alone as it is.

use super::accept::{inner_type, transfer_syntax};
use crate::http::negotiation::MediaRange;

/// What has no other media type.
pub(crate) const OCTETS: &str = "application/octet-stream";

/// How an answer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayloadLayout {
    /// As `multipart/related`.
    Parts,
    /// The one part as it is.
    Alone,
}

/// What there is to be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payload<'a> {
    /// The media type of a part.
    pub(crate) media_type: &'a str,
    /// The transfer syntax that it is in.
    pub(crate) transfer_syntax: &'a str,
    /// There is one part only.
    pub(crate) is_one: bool,
}

/// The packing that is wanted most of those in which `packed` can be had.
///
/// A range without a transfer syntax takes what is stored, as archives have it and viewers expect: by PS3.18 8.7.3.5.2 it
/// would be Explicit VR Little Endian. Octets in any transfer syntax take compressed frames too, as viewers ask for those so
/// and look at the part's type.
pub(crate) fn packing(ranges: &[MediaRange], packed: Payload<'_>) -> Option<PayloadLayout> {
    let of_range = |range: &MediaRange| {
        let syntax = transfer_syntax(range).filter(|syntax| !syntax.is_empty());
        if syntax.is_some_and(|syntax| syntax != "*" && syntax != packed.transfer_syntax) {
            return None;
        }
        if matches!(range.essence.as_str(), "multipart/related" | "multipart/*" | "*/*") {
            let takes = match inner_type(range).as_deref() {
                None | Some("*/*") => true,
                Some(OCTETS) if syntax.is_some() => true,
                Some(inner) => inner.eq_ignore_ascii_case(packed.media_type),
            };
            return takes.then_some(PayloadLayout::Parts);
        }
        (packed.is_one && range.covers(&packed.media_type.to_ascii_lowercase()))
            .then_some(PayloadLayout::Alone)
    };
    ranges.iter().find_map(of_range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_single_objects_are_given_as_they_are_accepted() {
        let native = Payload { media_type: OCTETS, transfer_syntax: "1.2.840.10008.1.2.1", is_one: true };
        let jpeg =
            Payload { media_type: "image/jpeg", transfer_syntax: "1.2.840.10008.1.2.4.50", is_one: false };
        for (range, packed, expected) in [
            ("*/*", native, Some(PayloadLayout::Parts)),
            ("application/octet-stream", native, Some(PayloadLayout::Alone)),
            ("application/*", native, Some(PayloadLayout::Alone)),
            ("application/octet-stream", Payload { is_one: false, ..native }, None),
            ("multipart/related; type=\"application/octet-stream\"", native, Some(PayloadLayout::Parts)),
            ("multipart/related; type=application/octet-stream; transfer-syntax=1.2.3", native, None),
            (
                "multipart/related; type=\"application/octet-stream; transfer-syntax=*\"",
                jpeg,
                Some(PayloadLayout::Parts),
            ),
            ("multipart/related; type=\"application/octet-stream\"", jpeg, None),
            ("multipart/related; type=\"image/jpeg\"", jpeg, Some(PayloadLayout::Parts)),
            ("multipart/related; type=\"image/jp2\"", jpeg, None),
            ("image/jpeg", jpeg, None),
            ("image/jpeg", Payload { is_one: true, ..jpeg }, Some(PayloadLayout::Alone)),
        ] {
            assert_eq!(packing(&[MediaRange::parse(range).unwrap()], packed), expected, "{range}");
        }
    }
}
