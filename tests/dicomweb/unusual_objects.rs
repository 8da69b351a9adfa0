//! Unusual objects that archives accept: synthesized metadata and bulk data, rendered frames, and the embedded archive agree on
//! whether an object can be read, and on the bytes of each frame.

mod elements;
mod encapsulated;
mod native;
mod readers;
mod values;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::client;
use crate::support::raw_objects::{
    BIG_ENDIAN, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT, IMPLICIT_LITTLE, PIXEL_DATA, RawObject,
    encapsulated_pixel_data,
};
use readers::Readers;
pub(super) use readers::parts;

const JPEG: &str = "1.2.840.10008.1.2.4.50";
const MPEG_4: &str = "1.2.840.10008.1.2.4.102";
/// Native pixel data of one frame of 2 by 2 pixels.
const NATIVE: [u8; 4] = [10, 60, 120, 250];

/// What every reader must return for an object.
#[derive(Debug, Clone)]
enum Expectation {
    /// An error: the object is invalid.
    Rejected,
    /// Native frames, which are the value of Pixel Data.
    Native(Vec<Vec<u8>>),
    /// Native frames whose bytes differ from the value of Pixel Data. An object without such frames cannot be rendered.
    NativeValue { value: Vec<u8>, frames: Vec<Vec<u8>> },
    /// Compressed frames with their media type and transfer syntax.
    Compressed { media_type: &'static str, syntax: &'static str, frames: Vec<Vec<u8>>, can_be_rendered: bool },
}

struct Case {
    name: &'static str,
    file: Vec<u8>,
    expectation: Expectation,
    /// Elements that the metadata must contain, by tag.
    elements: Value,
}

/// The objects. The number of an object, from 1, is part of its UIDs.
#[derive(Default)]
struct Corpus(Vec<Case>);

impl Corpus {
    /// Creates the next image, without pixel data.
    fn image(&self, syntax: &'static str) -> RawObject {
        let encoding = match syntax {
            IMPLICIT => IMPLICIT_LITTLE,
            BIG_ENDIAN => EXPLICIT_BIG,
            _ => EXPLICIT_LITTLE,
        };
        RawObject::image(encoding, syntax, self.0.len() + 1)
    }

    fn add(&mut self, name: &'static str, file: Vec<u8>, expectation: Expectation, elements: Value) {
        self.0.push(Case { name, file, expectation, elements });
    }

    /// Adds a native image of one frame whose metadata must contain `elements`.
    fn add_native(
        &mut self,
        name: &'static str,
        syntax: &'static str,
        elements: Value,
        change: impl Fn(RawObject) -> RawObject,
    ) {
        let image = change(self.image(syntax).pixels(&NATIVE));
        self.add(name, image.to_file(), Expectation::Native(vec![NATIVE.to_vec()]), elements);
    }

    /// Adds a JPEG image with a Basic Offset Table and `fragments`, from which every reader must assemble `frames`.
    fn add_jpeg(
        &mut self,
        name: &'static str,
        table: &[u32],
        fragments: &[Vec<u8>],
        frames: &[Vec<u8>],
        change: impl Fn(RawObject) -> RawObject,
    ) {
        let image = self.image(JPEG).size(8).frames(&frames.len().to_string());
        let image = change(image.with_element(PIXEL_DATA, encapsulated_pixel_data(table, fragments)));
        let expectation = Expectation::Compressed {
            media_type: "image/jpeg",
            syntax: JPEG,
            frames: frames.to_vec(),
            can_be_rendered: true,
        };
        self.add(name, image.to_file(), expectation, json!({}));
    }
}

fn corpus() -> Vec<Case> {
    let mut corpus = Corpus::default();
    elements::add_sequences_with_vr_un(&mut corpus);
    elements::add_readable_objects(&mut corpus);
    elements::add_rejected_objects(&mut corpus);
    encapsulated::add_fragments(&mut corpus);
    encapsulated::add_videos(&mut corpus);
    native::add_frames(&mut corpus);
    native::add_big_endian_cells(&mut corpus);
    native::add_numbers_of_frames(&mut corpus);
    values::add_rows_with_another_vr(&mut corpus);
    corpus.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_readers_agree_on_unusual_objects() {
    let corpus = corpus();
    let files: Vec<_> = corpus.iter().map(|case| case.file.as_slice()).collect();
    let readers = Readers::start(&files).await;
    let mut report = String::new();
    for (number, case) in (1..).zip(&corpus) {
        let differences = readers.differences(case, number).await;
        if !differences.is_empty() {
            let _ = writeln!(report, "{number} {}:\n{differences}", case.name);
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[tokio::test]
async fn videos_are_returned_with_the_media_type_of_their_transfer_syntax() {
    let video: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let image = RawObject::image(EXPLICIT_LITTLE, MPEG_4, 1).frames("25");
    let file =
        image.with_element(PIXEL_DATA, encapsulated_pixel_data(&[], std::slice::from_ref(&video))).to_file();
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1";
    let Readers { synthesized, embedded, .. } = &Readers::start(&[&file]).await;
    let bulk_data = format!("{instance}/bulkdata/7FE00010");
    let frame = format!("{instance}/frames/1");
    for url in [synthesized.url(&bulk_data), embedded.url(&bulk_data), embedded.url(&frame)] {
        for accept in ["video/mp4", "video/*"] {
            let response = client::get_with_headers(&url, &[("Accept", accept)]).await;
            assert_eq!(
                (response.status, response.is_complete),
                (200, true),
                "{url} {accept}: {}",
                response.text()
            );
            assert!(response.header("content-type").unwrap().starts_with("video/mp4"), "{url} {accept}");
            assert!(response.body == video, "{url} {accept}");
        }
        let multipart =
            client::get_with_headers(&url, &[("Accept", "multipart/related; type=\"video/mp4\"")]).await;
        assert_eq!(parts(&multipart).unwrap()[0].1, video, "{url}");
        let rejected =
            client::get_with_headers(&url, &[("Accept", "multipart/related; type=\"image/jpeg\"")]).await;
        assert_eq!(rejected.status, 406, "{url}");
    }
}
