//! Compares the patients that instances name with the patient of their study, while the metadata or the rows of the instances stream:
//! a viewer would show the images of another patient in the study.
//!
//! An instance of another patient is an error. If it is among the first ones, the client receives an error status, otherwise the
//! transfer is aborted. This module does not compare series; `study_location` does.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use serde_json::value::RawValue;

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::patient_comparison::PatientComparison;
use crate::mapping::{MappedInstance, RowPatient};
use crate::upstream::ArchiveId;
use dicom_model::json::reader::RowReader;
use http_messages::body::{self, Body, BoxError};

/// Length in bytes of the beginning that is compared before the response begins.
const MAX_COMPARED_FIRST: usize = 16 * 1024;

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

    /// Whether `instance`, an object in DICOM JSON, may belong to the patient. What cannot be read names no patient.
    fn includes(&mut self, instance: &RawValue) -> bool {
        let Ok(instance) = serde_json::from_str::<MappedInstance>(instance.get()) else { return true };
        let Some(part) = self.comparison.patient_of(&self.archive, &instance.patient) else { return true };
        if let Some(patient) = &mut self.patient {
            return patient.includes(&part);
        }
        self.patient = part.has_patient_id().then_some(part);
        true
    }

    /// Returns `response` with a body in DICOM JSON that is compared while it streams; an error if one of the first instances is
    /// that of another patient.
    pub(super) async fn compare(self, response: Response<Body>) -> Result<Response<Body>, DicomwebError> {
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        let conflict = DicomwebError::PatientConflict { archives: vec![self.archive.clone()] };
        let (parts, inner) = response.into_parts();
        let mut compared = ComparedBody {
            inner,
            first: VecDeque::new(),
            reader: RowReader::new(),
            patients: self,
            error: None,
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
            let Some(frame) = frame else {
                compared.finish().map_err(|_| conflict.clone())?;
                break;
            };
            match frame {
                Ok(frame) => {
                    let frame = compared.read(frame).map_err(|_| conflict.clone())?;
                    first_len += frame.data_ref().map_or(0, Bytes::len);
                    compared.first.push_back(frame);
                }
                Err(error) => {
                    compared.error = Some(error);
                    break;
                }
            }
        }
        Ok(Response::from_parts(parts, body::streamed(compared)))
    }
}

/// An instance belongs to another patient than its study.
#[derive(Debug, thiserror::Error)]
#[error("the archive's response contains instances of different patients")]
struct OtherPatient;

/// A body of instances that are compared while they stream.
#[derive(Debug)]
struct ComparedBody {
    inner: Body,
    /// The pieces that have been read before the response began.
    first: VecDeque<Frame<Bytes>>,
    /// The error after these pieces.
    error: Option<BoxError>,
    reader: RowReader<Box<RawValue>>,
    patients: InstancePatients,
}

impl ComparedBody {
    /// Reads `frame`, and returns it unchanged.
    fn read(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, OtherPatient> {
        let Some(data) = frame.data_ref() else { return Ok(frame) };
        let mut is_included = true;
        let patients = &mut self.patients;
        // Other filters detect a body that is not a list.
        let _ = self
            .reader
            .push(data, &mut |instance: Box<RawValue>| is_included &= patients.includes(&instance));
        if is_included { Ok(frame) } else { Err(OtherPatient) }
    }

    /// Reads the end of the list, which may complete its last instances.
    fn finish(&mut self) -> Result<(), OtherPatient> {
        let mut is_included = true;
        let (reader, patients) = (std::mem::take(&mut self.reader), &mut self.patients);
        let _ = reader.finish(&mut |instance: Box<RawValue>| is_included &= patients.includes(&instance));
        if is_included { Ok(()) } else { Err(OtherPatient) }
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
        if let Some(error) = body.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = ready!(Pin::new(&mut body.inner).poll_frame(context)).transpose()?;
        let compared = match frame {
            Some(frame) => body.read(frame).map(Some),
            None => body.finish().map(|()| None),
        };
        if compared.is_err() {
            tracing::warn!(archive = %body.patients.archive, "The response of the archive has instances of different patients; the client's transfer was aborted.");
        }
        Poll::Ready(compared.map_err(Into::into).transpose())
    }
}
