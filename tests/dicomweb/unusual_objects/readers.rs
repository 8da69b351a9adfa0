//! The readers of an object: the gateway that synthesizes metadata from the object, and the embedded archive.

use std::fmt::Write as _;

use dicomweb_archive::archive::Progress;
use dicomweb_archive::{Content, RunningArchive};
use tempfile::TempDir;

use super::{Case, Expectation};
use crate::support::archive_root::ArchiveRoot;
use crate::support::client::{self, ReceivedResponse};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs};

/// The gateway in front of an archive whose metadata it synthesizes, and in front of the embedded archive.
pub(super) struct Readers {
    pub(super) synthesized: ArchiveRoot,
    pub(super) embedded: ArchiveRoot,
    /// The servers and files behind both roots, which exist as long as the readers.
    _sources: (RunningPacs, RunningArchive, TempDir),
}

impl Readers {
    /// Starts readers of `files`. The Nth file, from 1, is the only instance, 1.2.N.1, of series 1.2.N of study 1.2.
    pub(super) async fn start(files: &[&[u8]]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut pacs = Pacs::new();
        for (number, file) in (1..).zip(files) {
            std::fs::write(folder.path().join(format!("{number:03}.dcm")), file).unwrap();
            let part =
                CannedResponse::multipart("unusual-object", [("Content-Type: application/dicom", *file)]);
            pacs = pacs.with_response(&format!("/{}", instance_path(number)), part);
        }
        let pacs = pacs.start().await;
        let content = Content::Folder(folder.path().to_owned());
        let listen = "127.0.0.1:0".parse().unwrap();
        let archive = dicomweb_archive::start_archive(content, listen, Progress::Silent).await.unwrap();
        Self {
            synthesized: ArchiveRoot::start_with_config(
                &pacs.url(),
                "synthesize = [\"metadata\", \"frames\"]",
            )
            .await,
            embedded: ArchiveRoot::start_with_config(&archive.url(), "").await,
            _sources: (pacs, archive, folder),
        }
    }

    /// Describes every difference between the responses for `case` and its expectation.
    pub(super) async fn differences(&self, case: &Case, number: usize) -> String {
        let expected = ExpectedResponses::new(&case.expectation);
        let instance = instance_path(number);
        let mut report = self.metadata_differences(case, &instance).await;
        for (name, root) in [("synthesized", &self.synthesized), ("embedded", &self.embedded)] {
            let response = client::get(&root.url(&format!("{instance}/bulkdata/7FE00010"))).await;
            if parts(&response) != expected.bulk_data_parts() {
                let _ = writeln!(report, "  bulk data, {name}: {} {}", response.status, response.is_complete);
            }
        }
        for (name, root) in [("synthesized", &self.synthesized), ("embedded", &self.embedded)] {
            let frames = format!("{instance}/frames");
            for (number, frame) in (1..).zip(&expected.frames) {
                // The frames that follow the first one are from the cache, if the gateway synthesizes them.
                let response = client::get(&root.url(&format!("{frames}/{number}"))).await;
                if parts(&response) != Some(vec![(expected.content_type.clone(), frame.clone())]) {
                    let _ = writeln!(
                        report,
                        "  frame {number}, {name}: {} {}",
                        response.status, response.is_complete
                    );
                }
            }
            let next_frame = format!("{frames}/{}", expected.frames.len() + 1);
            if is_readable(&client::get(&root.url(&next_frame)).await) {
                let _ = writeln!(report, "  a frame after the last one, {name}");
            }
        }
        for number in 1..=expected.frames.len().max(1) {
            let path = format!("{instance}/frames/{number}/rendered");
            let response = client::get(&self.synthesized.url(&path)).await;
            if is_readable(&response) != expected.can_be_rendered {
                let _ =
                    writeln!(report, "  rendered frame {number}: {} {}", response.status, response.text());
            }
        }
        report
    }

    async fn metadata_differences(&self, case: &Case, instance: &str) -> String {
        let synthesized = client::get(&self.synthesized.url(&format!("{instance}/metadata"))).await;
        let embedded = client::get(&self.embedded.url(&format!("{instance}/metadata"))).await;
        let mut report = String::new();
        let expects_metadata = !matches!(case.expectation, Expectation::Rejected);
        if (is_readable(&synthesized), is_readable(&embedded)) != (expects_metadata, expects_metadata) {
            let _ = writeln!(
                report,
                "  metadata: synthesized {}, embedded {}",
                synthesized.status, embedded.status
            );
        } else if expects_metadata {
            if synthesized.json() != embedded.json() {
                let _ = writeln!(report, "  metadata differ: {}\n  {}", synthesized.text(), embedded.text());
            }
            for (tag, element) in case.elements.as_object().unwrap() {
                if synthesized.json()[0][tag] != *element {
                    let _ = writeln!(report, "  {tag}: {}", synthesized.json()[0][tag]);
                }
            }
        }
        report
    }
}

/// The responses that an expectation requires. Without `bulk_data`, pixel data is not found.
#[derive(Default)]
struct ExpectedResponses {
    content_type: String,
    bulk_data: Option<Vec<Vec<u8>>>,
    frames: Vec<Vec<u8>>,
    can_be_rendered: bool,
}

impl ExpectedResponses {
    fn new(expectation: &Expectation) -> Self {
        let native = |value: Vec<u8>, frames: &[Vec<u8>]| Self {
            content_type: "application/octet-stream".to_owned(),
            bulk_data: Some(vec![value]),
            frames: frames.to_vec(),
            can_be_rendered: !frames.is_empty(),
        };
        match expectation {
            Expectation::Rejected => Self::default(),
            Expectation::Native(frames) => native(frames.concat(), frames),
            Expectation::NativeValue { value, frames } => native(value.clone(), frames),
            Expectation::Compressed { frames, .. } if frames.is_empty() => Self::default(),
            Expectation::Compressed { media_type, syntax, frames, can_be_rendered } => Self {
                content_type: format!("{media_type}; transfer-syntax={syntax}"),
                bulk_data: Some(frames.clone()),
                frames: frames.clone(),
                can_be_rendered: *can_be_rendered,
            },
        }
    }

    /// Returns the media type and the bytes of each part of the bulk data.
    fn bulk_data_parts(&self) -> Option<Vec<(String, Vec<u8>)>> {
        let parts = self.bulk_data.as_ref()?;
        Some(parts.iter().map(|part| (self.content_type.clone(), part.clone())).collect())
    }
}

fn instance_path(number: usize) -> String {
    format!("studies/1.2/series/1.2.{number}/instances/1.2.{number}.1")
}

fn is_readable(response: &ReceivedResponse) -> bool {
    response.status == 200 && response.is_complete
}

/// Returns the media type and the bytes of each part of a multipart body; `None` if it is incomplete.
pub(in crate::dicomweb) fn parts(response: &ReceivedResponse) -> Option<Vec<(String, Vec<u8>)>> {
    if !is_readable(response) {
        return None;
    }
    let boundary = response.header("content-type")?.split("boundary=").nth(1)?.trim_matches('"');
    let body: String = response.body.iter().map(|byte| char::from(*byte)).collect();
    let delimiter = format!("--{boundary}");
    let parse = |part: &str| {
        let (headers, bytes) = part.split_once("\r\n\r\n").unwrap();
        let bytes = bytes.strip_suffix("\r\n").unwrap();
        let content_type = headers.trim().strip_prefix("Content-Type: ").unwrap();
        (content_type.to_owned(), bytes.chars().map(|byte| u8::try_from(byte).unwrap()).collect())
    };
    Some(body.split(delimiter.as_str()).skip(1).filter(|part| !part.starts_with("--")).map(parse).collect())
}
