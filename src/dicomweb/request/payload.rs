//! The layout of a body with bulk data or frames that the gateway assembles (PS3.18 8.6.1): multipart or single part.

use super::accept::{transfer_syntax, type_parameter};
use crate::http::negotiation::MediaRange;

/// The media type of data without a more specific one.
pub(crate) const OCTETS: &str = "application/octet-stream";

/// The layout of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayloadLayout {
    /// A body of type `multipart/related`.
    Parts,
    /// A body that contains only the data.
    Single,
}

/// The data of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payload<'a> {
    /// The media type of each part.
    pub(crate) media_type: &'a str,
    /// The transfer syntax of the data.
    pub(crate) transfer_syntax: &'a str,
    /// Whether there is only one part.
    pub(crate) is_single: bool,
}

/// Returns the layout of `payload` for the first of `ranges` that accepts it; `None` if no range accepts it. `ranges` must be sorted by
/// preference.
///
/// A range without a transfer syntax accepts the stored transfer syntax, as archives implement it and viewers expect, although
/// its default is Explicit VR Little Endian (PS3.18 8.7.3.5.2). A range `application/octet-stream` with a transfer syntax accepts
/// compressed frames too, because viewers request compressed frames with it and read the media type of the part.
pub(crate) fn choose_layout(ranges: &[MediaRange], payload: Payload<'_>) -> Option<PayloadLayout> {
    let layout_of = |range: &MediaRange| {
        let syntax = transfer_syntax(range).filter(|syntax| !syntax.is_empty());
        if syntax.is_some_and(|syntax| syntax != "*" && syntax != payload.transfer_syntax) {
            return None;
        }
        if matches!(range.essence.as_str(), "multipart/related" | "multipart/*" | "*/*") {
            let is_accepted = match type_parameter(range).as_deref() {
                None | Some("*/*") => true,
                Some(OCTETS) if syntax.is_some() => true,
                Some(inner) => inner.eq_ignore_ascii_case(payload.media_type),
            };
            return is_accepted.then_some(PayloadLayout::Parts);
        }
        (payload.is_single && range.covers(&payload.media_type.to_ascii_lowercase()))
            .then_some(PayloadLayout::Single)
    };
    ranges.iter().find_map(layout_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_one_that_the_client_accepts() {
        let native = Payload { media_type: OCTETS, transfer_syntax: "1.2.840.10008.1.2.1", is_single: true };
        let jpeg =
            Payload { media_type: "image/jpeg", transfer_syntax: "1.2.840.10008.1.2.4.50", is_single: false };
        for (range, payload, expected) in [
            ("*/*", native, Some(PayloadLayout::Parts)),
            ("application/octet-stream", native, Some(PayloadLayout::Single)),
            ("application/*", native, Some(PayloadLayout::Single)),
            ("application/octet-stream", Payload { is_single: false, ..native }, None),
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
            ("image/jpeg", Payload { is_single: true, ..jpeg }, Some(PayloadLayout::Single)),
        ] {
            assert_eq!(choose_layout(&[MediaRange::parse(range).unwrap()], payload), expected, "{range}");
        }
    }
}
