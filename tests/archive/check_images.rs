//! The images that the command `check` compares: an archive that renders one wrongly is reported, and a correct one is not.

use bytes::Bytes;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_render::{Format, Image, RenderingParameters, Viewport, Window};
use dicomweb_gateway::commands::check::{ArchiveToCheck, Checks, check};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{Archive, Synthesized, SynthesizedSet};

use super::settings_for;
use crate::support::objects::{encode_explicit_file, object_without_pixel_data};
use crate::support::pacs::{CannedResponse, Pacs, QueryCondition, RunningPacs};

const INSTANCE: &str = "/studies/1.2/series/1.2.1/instances/1.2.1.1";
/// The windows that `check` may request of an image with center 128 and width 256.
const WINDOWS: [&str; 3] = ["128,128,linear", "64,128,linear", "192,128,linear"];
const REGION: &str = "32,32,16,16,32,32";
const HINT: &str = "main: add \"rendered\" to synthesize: it does not render all images correctly";

/// A grayscale image of 64 by 64 pixels with the window of center 128 and width 256.
fn image_file(photometric_interpretation: &str) -> Bytes {
    let mut object = object_without_pixel_data("1.2", "1.2.1", "1.2.1.1");
    let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
    object.put(text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric_interpretation));
    object.put(text(tags::WINDOW_CENTER, VR::DS, "128"));
    object.put(text(tags::WINDOW_WIDTH, VR::DS, "256"));
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1_u16),
        (tags::ROWS, 64),
        (tags::COLUMNS, 64),
        (tags::BITS_ALLOCATED, 8),
        (tags::BITS_STORED, 8),
        (tags::HIGH_BIT, 7),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    let pixels: Vec<u8> = (0..64_u8).flat_map(|row| (0..64_u8).map(move |column| row * 2 + column)).collect();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(pixels)));
    encode_explicit_file(object).into()
}

/// An archive with one image that it renders correctly, apart from the responses that a test adds first.
struct RenderingArchive {
    image: Image,
    pacs: Pacs,
}

impl RenderingArchive {
    fn new(photometric_interpretation: &str) -> Self {
        Self::in_pacs(Pacs::new(), photometric_interpretation)
    }

    /// Adds the image to `pacs`, whose responses precede.
    fn in_pacs(pacs: Pacs, photometric_interpretation: &str) -> Self {
        let file = image_file(photometric_interpretation);
        let uids = r#""0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.1"]}"#;
        let short = |tag: &str, value: u16| format!(r#","{tag}":{{"vr":"US","Value":[{value}]}}"#);
        let instance = format!(
            r#"{uids},"00080016":{{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.7"]}},"00080018":{{"vr":"UI","Value":["1.2.1.1"]}}"#
        );
        let attributes = format!(
            r#"{instance},"00280004":{{"vr":"CS","Value":["{photometric_interpretation}"]}},"00281050":{{"vr":"DS","Value":[128]}},"00281051":{{"vr":"DS","Value":[256]}}{}{}{}{}"#,
            short("00280010", 64),
            short("00280011", 64),
            short("00280100", 8),
            short("00280101", 8),
        );
        let list_of_one = |row: &str| CannedResponse::json(format!("[{{{row}}}]"));
        let pacs = pacs
            .with_response("/studies", list_of_one(uids))
            .with_response("/studies/1.2/series", list_of_one(uids))
            .with_response("/studies/1.2/series/1.2.1/metadata", list_of_one(&instance))
            .with_response("/studies/1.2/series/1.2.1/instances", list_of_one(&instance))
            // The rows have no attributes of images, so the metadata is read.
            .with_response(&format!("{INSTANCE}/metadata"), list_of_one(&attributes))
            .with_response(INSTANCE, CannedResponse::multipart("part", [("application/dicom", &file[..])]));
        Self { image: Image::open(&file, 1 << 24).unwrap(), pacs }
    }

    /// Returns the image with a window and a viewport, in `format`.
    fn render(&self, window: Option<&str>, viewport: Option<&str>, format: Format) -> CannedResponse {
        let parameters = RenderingParameters {
            window: window.map(|window| Window::parse(window).unwrap()),
            viewport: viewport.map(|viewport| Viewport::parse(viewport).unwrap()),
            ..RenderingParameters::default()
        };
        let image = self.image.render(1, &parameters, format).unwrap();
        CannedResponse::bytes(format.media_type(), image)
    }

    /// Responds with `response` to requests for the rendered `resource`, of which `parameter` has `value`.
    fn with_response(self, resource: &str, parameter: &str, value: &str, response: CannedResponse) -> Self {
        let condition = (parameter.to_owned(), QueryCondition::Equals(value.to_owned()));
        let path = format!("{INSTANCE}{resource}/rendered");
        Self { pacs: self.pacs.with_conditional_response(&path, vec![condition], response), ..self }
    }

    /// Responds with `response` to requests for the rendered `resource` with any of the windows.
    fn with_response_to_windows(self, resource: &str, response: &CannedResponse) -> Self {
        WINDOWS
            .into_iter()
            .fold(self, |archive, window| archive.with_response(resource, "window", window, response.clone()))
    }

    /// Adds the correct responses, in `format`, and starts the archive.
    async fn start(mut self, format: Format) -> RunningPacs {
        for window in WINDOWS {
            let region = self.render(Some(window), Some(REGION), format);
            let conditions = [("viewport", REGION), ("window", window)]
                .map(|(name, value)| (name.to_owned(), QueryCondition::Equals(value.to_owned())));
            let path = format!("{INSTANCE}/rendered");
            self.pacs = self.pacs.with_conditional_response(&path, conditions.to_vec(), region);
        }
        for (resource, window) in
            ["", "/frames/1"].into_iter().flat_map(|resource| WINDOWS.map(|window| (resource, window)))
        {
            let response = self.render(Some(window), None, format);
            self = self.with_response(resource, "window", window, response);
        }
        let whole = self.render(None, None, format);
        let paths = ["", "/frames/1"].map(|resource| format!("{INSTANCE}{resource}/rendered"));
        paths.iter().fold(self.pacs, |pacs, path| pacs.with_response(path, whole.clone())).start().await
    }
}

async fn run_check(pacs: &RunningPacs, synthesized: SynthesizedSet) -> Checks {
    let mut settings = settings_for(&pacs.url());
    settings.profile.synthesized = synthesized;
    let archive = Archive::new(settings, Metrics::default()).unwrap();
    let checks =
        check([ArchiveToCheck { archive, has_time_zone: false, has_patient_id_system: false }]).await;
    let text = checks.to_string();
    assert!(checks.is_success(), "{text}");
    assert!(!text.contains("ller") && !text.contains("1.2.1"), "{text}");
    checks
}

async fn print_check(pacs: &RunningPacs) -> String {
    run_check(pacs, SynthesizedSet::NONE).await.to_string()
}

#[tokio::test]
async fn check_accepts_an_archive_that_renders_correctly_in_png_or_jpeg() {
    for (photometric_interpretation, count) in [("MONOCHROME2", 5), ("MONOCHROME1", 3)] {
        for format in [Format::Png, Format::Jpeg] {
            let pacs = RenderingArchive::new(photometric_interpretation).start(format).await;
            let table = print_check(&pacs).await;
            assert!(table.contains(&format!("  {count} of {count} match\n")), "{format:?}: {table}");
            assert!(!table.contains("rendered image,") && !table.contains("\"rendered\""), "{table}");
        }
    }
}

#[tokio::test]
async fn check_reports_an_archive_that_ignores_the_window_of_a_frame() {
    for format in [Format::Png, Format::Jpeg] {
        let archive = RenderingArchive::new("MONOCHROME2");
        let without_window = archive.render(None, None, format);
        let pacs = archive.with_response_to_windows("/frames/1", &without_window).start(format).await;
        let table = print_check(&pacs).await;
        assert!(table.contains("  4 of 5 match\n"), "{table}");
        let line = "rendered image, frame of monochrome 2 with a requested window: its values differ by ";
        assert!(table.contains(line) && table.contains(HINT), "{table}");
        assert_eq!(table.matches("rendered image, ").count(), 1, "{table}");
    }
}

#[tokio::test]
async fn check_reports_an_archive_that_ignores_the_window_of_the_image() {
    let archive = RenderingArchive::new("MONOCHROME2");
    let full_range = archive.render(Some("64,128,linear"), None, Format::Png);
    let path = format!("{INSTANCE}/frames/1/rendered");
    let archive = RenderingArchive { pacs: archive.pacs.with_response(&path, full_range), ..archive };
    let table = print_check(&archive.start(Format::Png).await).await;
    assert!(table.contains("  4 of 5 match\n") && table.contains(HINT), "{table}");
    assert!(table.contains("rendered image, frame of monochrome 2: its values differ by "), "{table}");
}

#[tokio::test]
async fn check_reports_an_archive_that_does_not_invert_monochrome_1() {
    let inverted = RenderingArchive::new("MONOCHROME2").render(None, None, Format::Png);
    let path = format!("{INSTANCE}/rendered");
    let archive = RenderingArchive::new("MONOCHROME1");
    // The response to requests without parameters. The first scripted response to a path is sent.
    let pacs = RenderingArchive { pacs: archive.pacs.with_response(&path, inverted), ..archive };
    let table = print_check(&pacs.start(Format::Png).await).await;
    assert!(table.contains("  2 of 3 match\n") && table.contains(HINT), "{table}");
    assert!(table.contains("rendered image, monochrome 1: its values differ by "), "{table}");
}

#[tokio::test]
async fn check_reports_an_image_of_another_size_and_a_response_that_is_not_an_image() {
    let archive = RenderingArchive::new("MONOCHROME2");
    let whole = archive.render(None, None, Format::Png);
    let pacs = archive
        .with_response("", "viewport", REGION, whole)
        .with_response_to_windows("/frames/1", &CannedResponse::bytes("image/png", "<html>Doe^Jane</html>"));
    let table = print_check(&pacs.start(Format::Png).await).await;
    assert!(table.contains("rendered image, region: it has 64 x 64 pixels instead of 32 x 32\n"), "{table}");
    let line =
        "rendered image, frame of monochrome 2 with a requested window: it is not a PNG or JPEG image\n";
    assert!(table.contains(line) && table.contains("  3 of 5 match\n") && table.contains(HINT), "{table}");
    assert!(!table.contains("Doe"), "{table}");
}

#[tokio::test]
async fn check_reports_an_image_that_fails_unless_the_gateway_renders_it_instead() {
    for (status, is_reported) in [(500, true), (501, false), (406, false)] {
        let archive = RenderingArchive::new("MONOCHROME2");
        let pacs = archive.with_response_to_windows("/frames/1", &CannedResponse::status(status));
        let table = print_check(&pacs.start(Format::Png).await).await;
        let line = format!(
            "frame of monochrome 2 with a requested window: archive main responded with status {status}"
        );
        assert_eq!(table.contains(&line), is_reported, "{table}");
        assert_eq!(table.contains(HINT), is_reported, "{table}");
        assert!(table.contains(if is_reported { "4 of 5 match" } else { "4 of 4 match" }), "{table}");
    }
}

#[tokio::test]
async fn check_requests_no_further_image_from_an_archive_that_is_overloaded() {
    let archive = RenderingArchive::new("MONOCHROME2");
    let pacs = archive.with_response_to_windows("", &CannedResponse::status(503)).start(Format::Png).await;
    let table = print_check(&pacs).await;
    assert!(table.contains("rendered image, monochrome 2 with a requested window: "), "{table}");
    assert!(table.contains("rendered images: not all were compared") && !table.contains(HINT), "{table}");
    let is_further = |target: &String| target.contains("/frames/1/rendered?") || target.contains("viewport");
    assert!(!pacs.targets().iter().any(is_further), "{:?}", pacs.targets());
}

#[tokio::test]
async fn check_requests_no_image_from_an_archive_that_fails_to_return_the_object() {
    let pacs = Pacs::new().with_response(INSTANCE, CannedResponse::status(503));
    let pacs = RenderingArchive::in_pacs(pacs, "MONOCHROME2").start(Format::Png).await;
    let table = print_check(&pacs).await;
    let line = "rendered image, object to compare with: archive main responded with status 503";
    assert!(table.contains(line) && table.contains("because the archive failed"), "{table}");
    assert!(!table.contains(HINT), "{table}");
    assert!(!pacs.targets().iter().any(|target| target.contains("window=")), "{:?}", pacs.targets());
}

#[tokio::test]
async fn check_requests_no_viewport_beyond_the_image_and_nothing_if_the_gateway_renders() {
    let pacs = RenderingArchive::new("MONOCHROME2").start(Format::Png).await;
    print_check(&pacs).await;
    let viewports: Vec<_> = pacs
        .targets()
        .into_iter()
        .filter_map(|target| Some(target.split_once("viewport=")?.1.to_owned()))
        .collect();
    assert_eq!(viewports, [REGION]);
    let pacs = RenderingArchive::new("MONOCHROME2").start(Format::Png).await;
    let synthesized = SynthesizedSet::NONE.with(Synthesized::Rendered);
    let table = run_check(&pacs, synthesized).await.to_string();
    assert!(!table.contains("match") && !table.contains("compared"), "{table}");
    assert!(!pacs.targets().iter().any(|target| target.contains("window=") || target.contains("viewport=")));
}
