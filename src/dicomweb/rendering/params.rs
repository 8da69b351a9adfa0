//! The rendering parameters that the gateway supports: those of PS3.18 8.3.5.1, and the formats of 8.7.4.
//!
//! A window applies to grayscale images; it is ignored for color images, for which it has no meaning.

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::request::{ProxyRequest, THUMBNAIL_SIZE};
use crate::dicomweb::request::accept::inner_type;
use crate::dicomweb::request::path::Resource;
use crate::http::negotiation::{MediaRange, preferred};
use crate::upstream::Rendering;
use dicom_render::{Annotation, Appearance, Format, Viewport};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RenderParameters {
    pub(super) appearance: Appearance,
    /// The format of a single image, if the client accepts one.
    pub(super) single: Option<Format>,
    /// The format of images as parts, if the client accepts a multipart body.
    pub(super) parts: Option<Format>,
    /// Whether the client prefers several frames as one animated image to parts.
    pub(super) is_animated: bool,
}

impl RenderParameters {
    pub(super) fn read(request: &ProxyRequest) -> Result<Self, DicomwebError> {
        let mut appearance = appearance(&request.rendering)?;
        if matches!(request.resource, Resource::Thumbnail(_)) {
            appearance.viewport.get_or_insert(Viewport::within(THUMBNAIL_SIZE, THUMBNAIL_SIZE));
        }
        let (single, parts, is_animated) = formats(&request.accepted.ranges);
        match (single, parts) {
            (None, None) => Err(DicomwebError::NotAcceptable),
            _ => Ok(Self { appearance, single, parts, is_animated }),
        }
    }
}

fn appearance(rendering: &Rendering) -> Result<Appearance, DicomwebError> {
    let annotations = || rendering.parameter("annotation").unwrap_or_default().split(',');
    let annotation = Annotation {
        patient: annotations().any(|annotation| annotation == "patient"),
        technique: annotations().any(|annotation| annotation == "technique"),
    };
    if rendering.parameter("iccprofile").is_some_and(|profile| profile != "no") {
        return Err(DicomwebError::UnsupportedRenderParameter("iccprofile"));
    }
    Ok(Appearance {
        viewport: rendering.viewport(),
        window: rendering.window(),
        quality: rendering.parameter("quality").and_then(|quality| quality.parse().ok()),
        annotation,
    })
}

/// The formats that a client accepts for a single image and for images as parts, and whether it prefers several frames as a GIF
/// to parts. It does if it asks for images, but not if it accepts anything.
fn formats(ranges: &[MediaRange]) -> (Option<Format>, Option<Format>, bool) {
    let single = preferred(ranges, &Format::ALL.map(Format::media_type)).map(|index| Format::ALL[index]);
    let of_parts = |range: &MediaRange| match (range.essence.as_str(), inner_type(range).as_deref()) {
        _ if range.quality <= 0.0 => None,
        // A client that accepts anything accepts parts too.
        ("*/*", _) => single,
        ("multipart/related", None | Some("*/*" | "image/*")) => Some(Format::Jpeg),
        ("multipart/related", Some(inner)) => {
            Format::ALL.into_iter().find(|format| format.media_type() == inner)
        }
        _ => None,
    };
    let mut parts: Vec<_> =
        ranges.iter().filter_map(|range| Some((range.quality, of_parts(range)?))).collect();
    parts.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let parts = parts.first().copied();
    let of_gif = |essence: &str| ranges.iter().find(|range| range.essence == essence);
    let gif =
        of_gif(Format::Gif.media_type()).or_else(|| of_gif("image/*")).map_or(0.0, |range| range.quality);
    let is_animated = gif > 0.0 && parts.is_none_or(|(quality, _)| gif >= quality);
    (single, parts.map(|(_, format)| format), is_animated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::negotiation;
    use http::{HeaderMap, HeaderValue, header};

    fn accepted(accept: &str) -> (Option<Format>, Option<Format>) {
        let (single, parts, _) = accepted_with_animation(accept);
        (single, parts)
    }

    fn accepted_with_animation(accept: &str) -> (Option<Format>, Option<Format>, bool) {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
        formats(&negotiation::ranges(&headers))
    }

    #[test]
    fn the_client_chooses_the_format_and_jpeg_is_the_default() {
        let (jpeg, png) = (Some(Format::Jpeg), Some(Format::Png));
        assert_eq!(formats(&negotiation::ranges(&HeaderMap::new())), (jpeg, jpeg, false));
        assert_eq!(accepted("image/png"), (png, None));
        assert_eq!(accepted("image/*"), (jpeg, None));
        assert_eq!(accepted("image/png, image/jpeg;q=0.9"), (png, None));
        assert_eq!(accepted("image/avif,image/webp,image/png,*/*;q=0.8"), (png, png));
        assert_eq!(accepted("image/gif;q=0.5, video/mp4"), (Some(Format::Gif), None));
        assert_eq!(accepted("image/webp, video/mp4"), (None, None));
        assert_eq!(accepted("multipart/related; type=\"image/png\""), (None, png));
        assert_eq!(
            accepted("multipart/related; type=image/jp2, multipart/related;q=0.1, image/jpeg"),
            (jpeg, jpeg)
        );
        assert_eq!(accepted("*/*, image/jpeg;q=0"), (png, png));
    }

    #[test]
    fn several_frames_are_one_animation_for_clients_that_ask_for_images() {
        for (accept, is_animated) in [
            ("image/gif", true),
            ("image/*", true),
            // What browsers send for an image of a page.
            ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", true),
            ("multipart/related; type=image/jpeg, image/gif", true),
            ("multipart/related; type=image/jpeg, image/gif;q=0.9", false),
            ("image/gif;q=0, image/*", false),
            ("image/png", false),
            ("*/*", false),
        ] {
            assert_eq!(accepted_with_animation(accept).2, is_animated, "{accept}");
        }
    }

    #[test]
    fn unsupported_parameters_are_rejected_and_never_ignored() {
        let with = |name, value| appearance(&Rendering::default().with(name, value).unwrap());
        assert!(matches!(with("iccprofile", "srgb"), Err(DicomwebError::UnsupportedRenderParameter(_))));
        assert_eq!(with("iccprofile", "no").unwrap(), Appearance::default());
        let both = Annotation { patient: true, technique: true };
        assert_eq!(with("annotation", "technique,patient").unwrap().annotation, both);
        assert_eq!(
            with("annotation", "patient").unwrap().annotation,
            Annotation { technique: false, ..both }
        );
        assert_eq!(with("quality", "7").unwrap().quality, Some(7));
    }
}
