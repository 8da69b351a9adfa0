//! Metadata (PS3.18 10.4.1.1.2) out of the instances themselves, and those of a study out of its series'.
//!
//! InstanceStream are read one after the other up to their pixel data, and written as they come: what is held is one header,
//! whatever the size of an instance, and `objects::part10` bounds that. Where an archive cannot give all instances of a
//! study or series at once, it is asked for what lies below, as far as [`DicomwebLimits::max_scan`].
//!
//! An archive may answer with more than it was asked for: DICOM-RST does, with the whole study for each of its series and
//! instances. So only instances with the UIDs that the URL names are returned. The UIDs are read from the instances, so that
//! none which belongs to the URL is omitted.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::StatusCode;

use super::completion::completed;
use super::instances::{InstanceStream, Made, Received, retrieve};
use super::list::{RowStream, begun, rows_of};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::limits::DicomwebLimits;
use crate::dicomweb::proxy::attempts::fetch;
use crate::dicomweb::proxy::first_rows::first_rows;
use crate::dicomweb::proxy::request::ProxyRequest;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::upstream::{Archive, DicomResource, QidoQuery, SearchLevel, Synthesized};
use dicom_model::metadata;
use dicom_model::part10::{Header, Object, ReadError};
use dicom_model::{SeriesUid, SopInstanceUid, StudyUid, tags};

/// So many instances that were not asked for are passed over at most.
const MAX_ELSEWHERE: usize = 50_000;

/// Makes the metadata of one archive's objects.
#[derive(Debug, Clone)]
pub(super) struct MetadataSynthesizer {
    archive: Archive,
    /// The archive's address here.
    public: String,
    limits: DicomwebLimits,
}

impl MetadataSynthesizer {
    pub(super) fn new(archive: &Archive, public: &str, limits: DicomwebLimits) -> Self {
        Self { archive: archive.clone(), public: public.to_owned(), limits }
    }

    /// The metadata of each of `objects`, of which there is one at least.
    pub(super) fn rows(self, objects: DicomResource) -> BoxFuture<'static, Result<RowStream, DicomwebError>> {
        async move {
            // Metadata of each series cost an archive less than all instances of a study do.
            if matches!(objects, DicomResource::Study(_)) && !self.is_never_asked() {
                return self.assemble_from_children(&objects).await;
            }
            match retrieve(&self.archive, &objects).await {
                Ok(instances) => begun(&self.archive, self.out_of(instances, objects)).await,
                Err(refusal) if refusal.is_unsupported_by_archive() => match objects {
                    DicomResource::Study(_) | DicomResource::Series(..) => {
                        self.assemble_from_children(&objects).await
                    }
                    DicomResource::Instance(..) | DicomResource::Frames(..) => Err(refusal),
                },
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn is_never_asked(&self) -> bool {
        self.archive.profile().supplied.has(Synthesized::Metadata)
    }

    fn not_there(&self) -> DicomwebError {
        DicomwebError::refused(&self.archive, StatusCode::NOT_FOUND, &http::HeaderMap::new())
    }

    /// The metadata of each of `instances` that is among `objects`.
    fn out_of(&self, instances: InstanceStream, objects: DicomResource) -> RowStream {
        let public = self.public.clone();
        instances.worked(move |received, made| write_all(received, made, &public, &objects))
    }

    /// One series after the other, or one instance of a series after the other.
    async fn assemble_from_children(&self, objects: &DicomResource) -> Result<RowStream, DicomwebError> {
        let mut below = self.below(objects).await?.into_iter();
        let Some(first) = below.next() else { return Err(self.not_there()) };
        // Whoever refused all of them and has not even the first has said so before.
        let first = if self.is_never_asked() {
            self.clone().rows_of_one_below(first).await?
        } else {
            self.clone().rows_of_one(first).await?
        };
        let synthesizer = self.clone();
        let others = stream::iter(below.map(Ok)).and_then(move |objects| {
            let rows = synthesizer.clone().rows_of_one_below(objects);
            async move { rows.await.map_err(|error| StreamError::Refused(Box::new(error))) }
        });
        Ok(first.chain(others.try_flatten()).boxed())
    }

    /// What the archive finds below `objects`.
    async fn below(&self, objects: &DicomResource) -> Result<Vec<DicomResource>, DicomwebError> {
        let (study, level) = match objects {
            DicomResource::Study(study) => (study, SearchLevel::Series { study: study.clone() }),
            DicomResource::Series(study, series)
            | DicomResource::Instance(study, series, _)
            | DicomResource::Frames(study, series, ..) => {
                (study, SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() })
            }
        };
        let most = self.limits.max_scan;
        let found = first_rows(&self.archive, &QidoQuery::new(level.clone()), most + 1, most).await?;
        if found.rows.len() > most || found.more {
            return Err(DicomwebError::TooCostly { limit: most });
        }
        let no_uid = |_| self.archive.unreadable("a row without a valid UID").into();
        let one = |uid: &str| match &level {
            SearchLevel::SeriesInstances { series, .. } => SopInstanceUid::parse(uid)
                .map(|instance| DicomResource::Instance(study.clone(), series.clone(), instance)),
            _ => SeriesUid::parse(uid).map(|series| DicomResource::Series(study.clone(), series)),
        };
        let mut below: Vec<_> = found
            .rows
            .iter()
            .map(|row| one(&row.uid).map_err(no_uid))
            .collect::<Result<_, DicomwebError>>()?;
        // One object may have a row for each of two patients.
        below.dedup();
        Ok(below)
    }

    /// What was found is there: an archive that then knows nothing of it contradicts itself.
    async fn rows_of_one_below(self, objects: DicomResource) -> Result<RowStream, DicomwebError> {
        let archive = self.archive.clone();
        self.rows_of_one(objects).await.map_err(|error| match error {
            error if error.is_not_found() => {
                archive.unreadable("a series or instance that it finds and does not have").into()
            }
            error => error,
        })
    }

    /// As the archive tells it, where it does.
    async fn rows_of_one(self, objects: DicomResource) -> Result<RowStream, DicomwebError> {
        if self.is_never_asked() {
            return self.rows(objects).await;
        }
        let question = ProxyRequest::of_metadata(&self.archive, &self.public, objects.clone());
        match fetch(&self.archive, &question).await {
            Ok(answer) => {
                let answer = completed(&self.archive, self.limits, &question, answer).await?;
                begun(&self.archive, rows_of(answer.into_body())).await
            }
            Err(refusal) if refusal.is_unsupported_by_archive() => self.rows(objects).await,
            Err(error) => Err(error),
        }
    }
}

/// Writes the metadata of every one of `objects` that is received.
fn write_all(
    received: &mut Received,
    made: &Made,
    public: &str,
    objects: &DicomResource,
) -> Result<(), StreamError> {
    let mut elsewhere = 0;
    while received.next()? {
        let mut object = Object::open(&mut *received, None).map_err(|error| unread(&error))?;
        let header = object.header(|_| true).map_err(|error| unread(&error))?;
        let Some(address) = address_of(&header, objects)? else {
            elsewhere += 1;
            if elsewhere > MAX_ELSEWHERE {
                return Err(StreamError::Unreadable(
                    "more instances that were not asked for than are passed over",
                ));
            }
            continue;
        };
        // An instance that is cut short inside an intact part is not read by rendering and the embedded archive either.
        object.skip_native_pixel_data(&header).map_err(|error| unread(&error))?;
        let mut row = Vec::new();
        metadata::write(&mut row, header, format!("{public}/{address}"))
            .map_err(|_| StreamError::Unreadable("an instance that cannot be written"))?;
        made.give(Bytes::from(row))?;
    }
    Ok(())
}

/// Where the instance with that header stands, below the archive's address; `None` when it is none of `objects`.
fn address_of(header: &Header, objects: &DicomResource) -> Result<Option<String>, StreamError> {
    let uid = |tag| header.data.text(tag).ok_or(StreamError::Unreadable("an instance without its UIDs"));
    let no_uid = |_| StreamError::Unreadable("an instance with an invalid UID");
    let study = StudyUid::parse(uid(tags::STUDY_INSTANCE_UID)?).map_err(no_uid)?;
    let series = SeriesUid::parse(uid(tags::SERIES_INSTANCE_UID)?).map_err(no_uid)?;
    let instance = SopInstanceUid::parse(uid(tags::SOP_INSTANCE_UID)?).map_err(no_uid)?;
    let is_among = match objects {
        DicomResource::Study(of) => *of == study,
        DicomResource::Series(of, in_series) => *of == study && *in_series == series,
        DicomResource::Instance(of, in_series, own) | DicomResource::Frames(of, in_series, own, _) => {
            *of == study && *in_series == series && *own == instance
        }
    };
    Ok(is_among.then(|| DicomResource::Instance(study, series, instance).path()))
}

/// Why an instance was not read. The reader's own words may hold values.
pub(super) fn unread(error: &ReadError) -> StreamError {
    StreamError::Unreadable(match error {
        ReadError::NotDicom => "an object that is not in the file format of DICOM",
        ReadError::Directory => "a DICOMDIR among the instances",
        ReadError::TransferSyntax(_) => "an instance in a transfer syntax that cannot be read",
        ReadError::TooLarge => "an instance whose attributes are larger than any real one's",
        ReadError::Truncated => "an instance that is cut short",
        ReadError::Broken(_) | ReadError::Io(_) => "an instance whose structure is broken",
    })
}
