//! Compares the patients that instances name with the patient of their study, while the metadata or the rows of the instances stream:
//! a viewer would show the images of another patient in the study.
//!
//! An instance of another patient is an error. If it is among the first ones, the client receives an error status, otherwise the
//! transfer is aborted. This module does not compare series; `study_location` does.

use std::collections::VecDeque;
use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::patient_comparison::PatientComparison;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::mapping::{NAMED_PATIENT_TAGS, RowPatient};
use crate::upstream::{Archive, ArchiveId};
use dicom_model::json::attribute_texts::{AttributeTexts, Found};
use dicom_model::json::reader::RowError;
use dicom_model::{Attributes, json, tag};
use http_messages::body::{self, Body, BoxError};

/// Length in bytes of the beginning that is compared before the response begins.
const MAX_COMPARED_FIRST: usize = 16 * 1024;

/// Maximum length in bytes of the text of one of these attributes. An ID has at most 64 characters, and the sequence few items.
const MAX_ATTRIBUTE_LEN: usize = 64 * 1024;

/// The comparison of instances with the patient of their study in one archive.
#[derive(Debug)]
pub(super) struct InstancePatients {
    archive: ArchiveId,
    comparison: PatientComparison,
    /// The patient of the study; `None` until an instance names one.
    patient: Option<RowPatient>,
}

impl InstancePatients {
    /// Creates a comparison with `patient`, the patient of the study in `archive`, or with that of the first instance.
    pub(super) fn new(
        archive: ArchiveId,
        comparison: PatientComparison,
        patient: Option<RowPatient>,
    ) -> Self {
        Self { archive, comparison, patient }
    }

    /// Whether an instance with these attributes may belong to the patient.
    fn includes(&mut self, attributes: &Attributes) -> bool {
        let Some(part) = self.comparison.patient_of(&self.archive, attributes) else { return true };
        if let Some(patient) = &mut self.patient {
            return patient.includes(&part);
        }
        self.patient = part.has_patient_id().then_some(part);
        true
    }

    /// Returns `response` of `archive` with a body in DICOM JSON that is compared while it streams; an error if one of the first
    /// instances is that of another patient, or cannot be compared.
    pub(super) async fn compare(
        self,
        archive: &Archive,
        response: Response<Body>,
    ) -> Result<Response<Body>, DicomwebError> {
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        let (parts, inner) = response.into_parts();
        let mut compared = ComparedBody::new(self, inner);
        let before_response = |error: ComparisonError| match error {
            ComparisonError::OtherPatient => {
                DicomwebError::PatientConflict { archives: vec![archive.id().clone()] }
            }
            ComparisonError::Unreadable(error) => archive.error(error).into(),
            ComparisonError::UnreadablePatient => {
                archive.unreadable("an instance whose patient is malformed").into()
            }
        };
        let mut first_len = 0;
        while first_len < MAX_COMPARED_FIRST {
            // The first piece, and those that have already arrived.
            let frame = if compared.first.is_empty() {
                compared.inner.frame().await
            } else if let Some(frame) = compared.inner.frame().now_or_never() {
                frame
            } else {
                break;
            };
            match frame {
                Some(Ok(frame)) => {
                    compared.read(&frame).map_err(before_response)?;
                    first_len += frame.data_ref().map_or(0, Bytes::len);
                    compared.first.push_back(frame);
                }
                Some(Err(error)) => return Err(StreamError::of_body(error).before_response(archive)),
                None => break,
            }
        }
        Ok(Response::from_parts(parts, body::streamed(compared)))
    }
}

/// Why the rest of a list cannot be forwarded.
#[derive(Debug, thiserror::Error)]
enum ComparisonError {
    #[error("the archive's response contains instances of different patients")]
    OtherPatient,
    #[error("the patients of the archive's response cannot be compared: {0}")]
    Unreadable(RowError),
    #[error("an instance of the archive's response names its patient in malformed attributes")]
    UnreadablePatient,
}

/// A body of instances that are compared while they stream.
#[derive(Debug)]
struct ComparedBody {
    inner: Body,
    /// The pieces that have been read before the response began.
    first: VecDeque<Frame<Bytes>>,
    scanner: AttributeTexts,
    /// The members of the current instance that name its patient, as JSON text.
    attributes: String,
    patients: InstancePatients,
}

impl ComparedBody {
    fn new(patients: InstancePatients, inner: Body) -> Self {
        Self {
            inner,
            first: VecDeque::new(),
            scanner: AttributeTexts::new(&NAMED_PATIENT_TAGS, MAX_ATTRIBUTE_LEN),
            attributes: String::new(),
            patients,
        }
    }

    /// Reads `frame`, and compares the instances that it completes. The end of the list needs no comparison, because an instance is
    /// complete before it, and other filters require that the list is complete.
    fn read(&mut self, frame: &Frame<Bytes>) -> Result<(), ComparisonError> {
        let Some(data) = frame.data_ref() else { return Ok(()) };
        let Self { scanner, attributes, patients, .. } = self;
        let mut outcome = Ok(());
        let read = scanner.push(data, &mut |_, found| match found {
            Found::Object => attributes.clear(),
            Found::Attribute { index, text } => {
                let name = NAMED_PATIENT_TAGS.get(index).copied().map(tag::hex).unwrap_or_default();
                let separator = if attributes.is_empty() { '{' } else { ',' };
                attributes.push(separator);
                // Writing to a string does not fail.
                let _ = write!(attributes, "\"{name}\":{}", String::from_utf8_lossy(text));
            }
            Found::End if attributes.is_empty() || outcome.is_err() => {}
            Found::End => {
                attributes.push('}');
                outcome = match json::parse(attributes) {
                    Ok(read) if patients.includes(&read) => Ok(()),
                    Ok(_) => Err(ComparisonError::OtherPatient),
                    Err(_) => Err(ComparisonError::UnreadablePatient),
                };
            }
        });
        outcome?;
        read.map_err(ComparisonError::Unreadable)
    }
}

impl HttpBody for ComparedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.get_mut();
        if let Some(frame) = body.first.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = ready!(Pin::new(&mut body.inner).poll_frame(context)).transpose()?;
        let compared = frame.as_ref().map_or(Ok(()), |frame| body.read(frame));
        if let Err(error) = &compared {
            tracing::warn!(archive = %body.patients.archive, %error, "The response of the archive failed; the client's transfer was aborted.");
        }
        Poll::Ready(compared.map(|()| frame).map_err(Into::into).transpose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::mapping::{MappingContext, PatientIds};

    /// Returns a body of instances of an archive whose study is that of the patient P1.
    fn body() -> ComparedBody {
        let archive = ArchiveId::parse("main").unwrap();
        let context = MappingContext::new("main", Arc::new(PatientIds::derive([&b"secret"[..]]).unwrap()));
        let comparison = PatientComparison::new([(archive.clone(), context.clone())]);
        let attributes = serde_json::from_str(r#"{"00100020":{"vr":"LO","Value":["P1"]}}"#).unwrap();
        let patient = RowPatient::from_row(&context, &attributes);
        ComparedBody::new(InstancePatients::new(archive, comparison, Some(patient)), body::empty())
    }

    /// Compares `text` in chunks of `size` bytes. Returns the number of bytes before the chunk that has the error.
    fn compare(text: &str, size: usize) -> Result<(), (usize, ComparisonError)> {
        let (mut body, mut read_len) = (body(), 0);
        for chunk in text.as_bytes().chunks(size) {
            body.read(&Frame::data(Bytes::copy_from_slice(chunk))).map_err(|error| (read_len, error))?;
            read_len += chunk.len();
        }
        Ok(())
    }

    fn instance(patient: &str, length: usize) -> String {
        let value = "A".repeat(length);
        format!(
            r#"{{"00080018":{{"vr":"UI","Value":["1.4"]}},"00100020":{{"vr":"LO","Value":["{patient}"]}},"7FE00010":{{"vr":"OW","InlineBinary":"{value}"}}}}"#
        )
    }

    #[test]
    fn an_instance_of_another_patient_is_detected_at_its_end_in_chunks_of_any_size() {
        let (own, other) = (instance("P1 ", 9), instance("P2", 9));
        let list = format!("[{own},{{}},{other},{own}]");
        let end = list.len() - own.len() - 2;
        for size in 1..=list.len() {
            let (position, error) = compare(&list, size).unwrap_err();
            assert!(matches!(error, ComparisonError::OtherPatient), "{error}");
            assert_eq!(position, (end - 1) / size * size, "{size}");
        }
        for size in [1, 100, 1000] {
            assert!(compare(&format!("[{own},{{}},{own}]"), size).is_ok());
        }
    }

    #[test]
    fn patients_are_compared_in_every_form_that_is_read_tolerantly() {
        for name in ["00100020", "PatientID", r"0010002\u0030"] {
            for (attribute, is_same) in [
                (r#"{"vr":"LO","Value":["P1"]}"#, true),
                (r#"{"vr":"LO","Value":[null,"P1"]}"#, true),
                (r#""P1""#, true),
                (r#"{"vr":"LO","Value":["P2"]}"#, false),
                (r#"{"vr":"LO","Value":[null,"P2"]}"#, false),
                (r#"["P2"]"#, false),
                (r#""P2""#, false),
            ] {
                let list = format!(r#"[{{"{name}":{attribute}}}]"#);
                for size in [1, 7, 1000] {
                    assert_eq!(compare(&list, size).is_ok(), is_same, "{list}");
                }
            }
        }
        assert!(compare(r#"[{"00100020":["P1"],"PatientID":["P1"]}]"#, 7).is_err());
    }

    #[test]
    fn an_instance_after_one_of_any_length_is_compared_without_holding_either() {
        let mut body = body();
        let mut read = |text: &str| body.read(&Frame::data(Bytes::copy_from_slice(text.as_bytes())));
        let own = instance("P1", 2);
        let (beginning, end) = own.split_at(own.len() - 4);
        read(&format!("[{beginning}")).unwrap();
        let piece = "A".repeat(1 << 20);
        for _ in 0..100 {
            read(&piece).unwrap();
        }
        read(end).unwrap();
        let other = read(&format!(",{}]", instance("P2", 2)));
        assert!(matches!(other, Err(ComparisonError::OtherPatient)));
        assert!(body.attributes.capacity() < 1000);
    }

    #[test]
    fn a_list_whose_patients_cannot_be_read_is_an_error() {
        let is_unreadable = |text: &str| matches!(compare(text, 7), Err((_, ComparisonError::Unreadable(_))));
        assert!(is_unreadable(r#"[{"00100020":{"Value":["P1"]},"00100020":{"Value":["P2"]}}]"#));
        assert!(is_unreadable("[1]") && is_unreadable("{}") && is_unreadable("[{}]x"));
        assert!(is_unreadable(&format!("[{}]", instance(&"P".repeat(MAX_ATTRIBUTE_LEN), 2))));
        let nested = [r#"{"Value":[{"00100020":"#.repeat(100), "1".to_owned(), "}]}".repeat(100)].concat();
        let malformed = compare(&format!(r#"[{{"00100020":{nested}}}]"#), 7);
        assert!(matches!(malformed, Err((_, ComparisonError::UnreadablePatient))), "{malformed:?}");
        let undecodable = compare(r#"[{"00100020":{"vr":"LO","Value":["P1\ud800"]}}]"#, 7);
        assert!(matches!(undecodable, Err((_, ComparisonError::OtherPatient))), "{undecodable:?}");
    }
}
