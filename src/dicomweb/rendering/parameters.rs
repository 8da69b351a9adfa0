//! The rendering parameters that the gateway supports (PS3.18 8.3.5.1), and the formats that the client accepts (8.7.4).
//!
//! A window applies only to grayscale images, and is ignored for color images.

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::request::{ProxyRequest, THUMBNAIL_SIZE};
use crate::dicomweb::request::accept::type_parameter;
use crate::dicomweb::request::path::Resource;
use crate::http::negotiation::{MediaRange, preferred};
use crate::upstream::Rendering;
use dicom_render::{Annotation, Format, RenderingParameters, Viewport};

/// The rendering parameters of a request, and the formats that the client accepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::dicomweb) struct AcceptedRendering {
    pub(super) rendering_parameters: RenderingParameters,
    /// The format of a single image, if the client accepts a single image.
    pub(super) single_format: Option<Format>,
    /// The format of the images in a multipart body, if the client accepts a multipart body.
    pub(super) part_format: Option<Format>,
    /// Whether the client prefers an animated GIF for several frames to a multipart body.
    pub(super) is_animated: bool,
}

impl AcceptedRendering {
    pub(in crate::dicomweb) fn read(request: &ProxyRequest) -> Result<Self, DicomwebError> {
        let mut rendering_parameters = rendering_parameters(&request.rendering)?;
        if matches!(request.resource, Resource::Thumbnail(_)) {
            rendering_parameters.viewport.get_or_insert(Viewport::within(THUMBNAIL_SIZE, THUMBNAIL_SIZE));
        }
        let (single_format, part_format, is_animated) = accepted_formats(&request.accepted.ranges);
        match (single_format, part_format) {
            (None, None) => Err(DicomwebError::NotAcceptable),
            _ => Ok(Self { rendering_parameters, single_format, part_format, is_animated }),
        }
    }
}

fn rendering_parameters(rendering: &Rendering) -> Result<RenderingParameters, DicomwebError> {
    let annotations = || rendering.parameter("annotation").unwrap_or_default().split(',');
    let annotation = Annotation {
        patient: annotations().any(|annotation| annotation == "patient"),
        technique: annotations().any(|annotation| annotation == "technique"),
    };
    if rendering.parameter("iccprofile").is_some_and(|profile| profile != "no") {
        return Err(DicomwebError::UnsupportedRenderParameter("iccprofile"));
    }
    Ok(RenderingParameters {
        viewport: rendering.viewport(),
        window: rendering.window(),
        quality: rendering.parameter("quality").and_then(|quality| quality.parse().ok()),
        annotation,
    })
}

/// Returns the formats that a client accepts for a single image and for the parts of a multipart body, and whether it prefers a
/// GIF for several frames. It prefers a GIF if it accepts `image/gif` or `image/*`, but not if it accepts only `*/*`.
fn accepted_formats(ranges: &[MediaRange]) -> (Option<Format>, Option<Format>, bool) {
    let single_format =
        preferred(ranges, &Format::ALL.map(Format::media_type)).map(|index| Format::ALL[index]);
    let part_format_of = |range: &MediaRange| match (range.essence.as_str(), type_parameter(range).as_deref())
    {
        _ if range.weight <= 0.0 => None,
        // `*/*` includes multipart bodies.
        ("*/*", _) => single_format,
        ("multipart/related", None | Some("*/*" | "image/*")) => Some(Format::Jpeg),
        ("multipart/related", Some(inner)) => {
            Format::ALL.into_iter().find(|format| format.media_type() == inner)
        }
        _ => None,
    };
    let mut part_formats: Vec<_> =
        ranges.iter().filter_map(|range| Some((range.weight, part_format_of(range)?))).collect();
    part_formats.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    let part_format = part_formats.first().copied();
    let range_of = |essence: &str| ranges.iter().find(|range| range.essence == essence);
    let gif_range = range_of(Format::Gif.media_type()).or_else(|| range_of("image/*"));
    let gif_weight = gif_range.map_or(0.0, |range| range.weight);
    let is_animated = gif_weight > 0.0 && part_format.is_none_or(|(weight, _)| gif_weight >= weight);
    (single_format, part_format.map(|(_, format)| format), is_animated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::negotiation;
    use http::{HeaderMap, HeaderValue, header};

    fn formats(accept: &str) -> (Option<Format>, Option<Format>) {
        let (single_format, part_format, _) = formats_and_animation(accept);
        (single_format, part_format)
    }

    fn formats_and_animation(accept: &str) -> (Option<Format>, Option<Format>, bool) {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
        accepted_formats(&negotiation::ranges(&headers))
    }

    #[test]
    fn the_client_chooses_the_format_and_jpeg_is_the_default() {
        let (jpeg, png) = (Some(Format::Jpeg), Some(Format::Png));
        assert_eq!(accepted_formats(&negotiation::ranges(&HeaderMap::new())), (jpeg, jpeg, false));
        assert_eq!(formats("image/png"), (png, None));
        assert_eq!(formats("image/*"), (jpeg, None));
        assert_eq!(formats("image/png, image/jpeg;q=0.9"), (png, None));
        assert_eq!(formats("image/avif,image/webp,image/png,*/*;q=0.8"), (png, png));
        assert_eq!(formats("image/gif;q=0.5, video/mp4"), (Some(Format::Gif), None));
        assert_eq!(formats("image/webp, video/mp4"), (None, None));
        assert_eq!(formats("multipart/related; type=\"image/png\""), (None, png));
        assert_eq!(
            formats("multipart/related; type=image/jp2, multipart/related;q=0.1, image/jpeg"),
            (jpeg, jpeg)
        );
        assert_eq!(formats("*/*, image/jpeg;q=0"), (png, png));
    }

    #[test]
    fn several_frames_are_a_gif_for_clients_that_accept_images() {
        for (accept, is_animated) in [
            ("image/gif", true),
            ("image/*", true),
            // The header that browsers send for an image of a page.
            ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", true),
            ("multipart/related; type=image/jpeg, image/gif", true),
            ("multipart/related; type=image/jpeg, image/gif;q=0.9", false),
            ("image/gif;q=0, image/*", false),
            ("image/png", false),
            ("*/*", false),
        ] {
            assert_eq!(formats_and_animation(accept).2, is_animated, "{accept}");
        }
    }

    #[test]
    fn unsupported_parameters_are_rejected_and_never_ignored() {
        let parse = |name, value| rendering_parameters(&Rendering::default().with(name, value).unwrap());
        assert!(matches!(parse("iccprofile", "srgb"), Err(DicomwebError::UnsupportedRenderParameter(_))));
        assert_eq!(parse("iccprofile", "no").unwrap(), RenderingParameters::default());
        let full_annotation = Annotation { patient: true, technique: true };
        assert_eq!(parse("annotation", "technique,patient").unwrap().annotation, full_annotation);
        assert_eq!(
            parse("annotation", "patient").unwrap().annotation,
            Annotation { technique: false, ..full_annotation }
        );
        assert_eq!(parse("quality", "7").unwrap().quality, Some(7));
    }
}
