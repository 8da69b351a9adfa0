//! Synthesizes metadata (PS3.18 10.4.1.1.2) from the instances, and the metadata of a study from that of its series.
//!
//! Instances are read one after the other up to their pixel data, and their metadata is written while they arrive. Only one
//! header is in memory, and `dicom_model::part10` limits its size. If an archive cannot return all instances of a study or series
//! at once, its series or instances are requested one after the other, at most [`DicomwebLimits::max_scan`].
//!
//! An archive may return more than was requested: DICOM-RST returns the whole study for each of its series and instances.
//! Therefore only instances with the UIDs of the URL are returned. The UIDs are read from the instances themselves.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::completion::complete_response;
use super::instances::{InstanceStream, ObjectReader, OutputSender, retrieve};
use super::list::{RowStream, parse_rows, require_row};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::limits::DicomwebLimits;
use crate::dicomweb::proxy::attempts::fetch;
use crate::dicomweb::proxy::first_rows::read_first_rows;
use crate::dicomweb::proxy::request::ProxyRequest;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::dicomweb::url_rewrite::url_map::UrlMap;
use crate::upstream::{Archive, DicomResource, QidoQuery, SearchLevel, Synthesized};
use dicom_model::metadata;
use dicom_model::part10::{Header, Object, ReadError};
use dicom_model::{SeriesUid, SopInstanceUid, StudyUid, UidRule, tags};

/// Maximum number of instances in one response that were not requested and are skipped.
const MAX_UNREQUESTED: usize = 50_000;

/// The synthesis of metadata of one archive.
#[derive(Debug, Clone)]
pub(super) struct MetadataSynthesizer {
    archive: Archive,
    /// The URLs of the archive and of the gateway.
    url_map: UrlMap,
    limits: DicomwebLimits,
}

impl MetadataSynthesizer {
    pub(super) fn new(archive: &Archive, url_map: &UrlMap, limits: DicomwebLimits) -> Self {
        Self { archive: archive.clone(), url_map: url_map.clone(), limits }
    }

    /// Returns the metadata of each of `objects`; an error if there is none.
    pub(super) fn rows(self, objects: DicomResource) -> BoxFuture<'static, Result<RowStream, DicomwebError>> {
        async move {
            // The metadata of each series costs an archive less than all instances of the study.
            if matches!(objects, DicomResource::Study(_)) && !self.always_synthesizes() {
                return self.assemble_from_children(&objects).await;
            }
            match retrieve(&self.archive, &objects).await {
                Ok(instances) => require_row(&self.archive, self.metadata_of(instances, objects)).await,
                Err(rejection) if rejection.is_unsupported_by_archive() => match objects {
                    DicomResource::Study(_) | DicomResource::Series(..) => {
                        self.assemble_from_children(&objects).await
                    }
                    DicomResource::Instance(..) | DicomResource::Frames(..) => Err(rejection),
                },
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn always_synthesizes(&self) -> bool {
        self.archive.profile().synthesized.contains(Synthesized::Metadata)
    }

    fn not_found(&self) -> DicomwebError {
        DicomwebError::nothing_returned(&self.archive)
    }

    /// Returns the metadata of each of `instances` that belongs to `objects`.
    fn metadata_of(&self, instances: InstanceStream, objects: DicomResource) -> RowStream {
        let (public_url, rule) = (self.url_map.public_url().to_owned(), self.archive.uid_rule());
        instances.process(move |reader, output| write_all(reader, output, &public_url, (&objects, rule)))
    }

    /// Requests the metadata of the series of a study, or of the instances of a series, one after the other.
    async fn assemble_from_children(&self, objects: &DicomResource) -> Result<RowStream, DicomwebError> {
        let mut children = self.search_children(objects).await?.into_iter();
        let Some(first_child) = children.next() else { return Err(self.not_found()) };
        // Unless the service is always synthesized, the error of the archive for the first child is returned.
        let first_rows = if self.always_synthesizes() {
            self.clone().rows_of_child(first_child).await?
        } else {
            self.clone().rows_of_resource(first_child).await?
        };
        let synthesizer = self.clone();
        let other_rows = stream::iter(children.map(Ok)).and_then(move |objects| {
            let rows = synthesizer.clone().rows_of_child(objects);
            async move { rows.await.map_err(|error| StreamError::FurtherRequest(Box::new(error))) }
        });
        Ok(first_rows.chain(other_rows.try_flatten()).boxed())
    }

    /// Searches for the series of a study, or for the instances of a series.
    async fn search_children(&self, objects: &DicomResource) -> Result<Vec<DicomResource>, DicomwebError> {
        let (study, level) = match objects {
            DicomResource::Study(study) => (study, SearchLevel::Series { study: study.clone() }),
            DicomResource::Series(study, series)
            | DicomResource::Instance(study, series, _)
            | DicomResource::Frames(study, series, ..) => {
                (study, SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() })
            }
        };
        let max_scan = self.limits.max_scan;
        let list =
            read_first_rows(&self.archive, &QidoQuery::new(level.clone()), max_scan + 1, max_scan).await?;
        if list.rows.len() > max_scan || list.has_more {
            return Err(DicomwebError::TooCostly { limit: max_scan });
        }
        let invalid_uid = |_| self.archive.unreadable("a row without a valid UID").into();
        let rule = self.archive.uid_rule();
        let child = |uid: &str| match &level {
            SearchLevel::SeriesInstances { series, .. } => SopInstanceUid::parse_by(rule, uid)
                .map(|instance| DicomResource::Instance(study.clone(), series.clone(), instance)),
            _ => SeriesUid::parse_by(rule, uid).map(|series| DicomResource::Series(study.clone(), series)),
        };
        let mut children: Vec<_> = list
            .rows
            .iter()
            .map(|row| child(&row.uid).map_err(invalid_uid))
            .collect::<Result<_, DicomwebError>>()?;
        // An object whose UID is assigned to two patients has two rows.
        children.dedup();
        Ok(children)
    }

    /// Returns the metadata of a child that a search found. If the archive does not have the child, the archive contradicts itself,
    /// so the error is not 404.
    async fn rows_of_child(self, objects: DicomResource) -> Result<RowStream, DicomwebError> {
        let archive = self.archive.clone();
        self.rows_of_resource(objects).await.map_err(|error| match error {
            error if error.is_not_found() => archive
                .unreadable("a series or instance that its search finds but that it does not have")
                .into(),
            error => error,
        })
    }

    /// Returns the metadata of the archive, or synthesizes metadata if the archive does not provide it.
    async fn rows_of_resource(self, objects: DicomResource) -> Result<RowStream, DicomwebError> {
        if self.always_synthesizes() {
            return self.rows(objects).await;
        }
        let request = ProxyRequest::for_metadata(&self.url_map, objects.clone());
        match fetch(&self.archive, &request).await {
            Ok(response) => {
                let response = complete_response(&self.archive, self.limits, &request, response).await?;
                require_row(&self.archive, parse_rows(&self.archive, response.into_body())).await
            }
            Err(rejection) if rejection.is_unsupported_by_archive() => self.rows(objects).await,
            Err(error) => Err(error),
        }
    }
}

/// Writes the metadata of every received instance that belongs to `objects` of an archive with `rule`.
fn write_all(
    reader: &mut ObjectReader,
    output: &OutputSender,
    public_url: &str,
    (objects, rule): (&DicomResource, UidRule),
) -> Result<(), StreamError> {
    let mut unrequested_count = 0;
    while reader.advance()? {
        // Dropped after the header.
        let mut permit = reader.header_permit();
        let mut object = Object::open(&mut *reader, None).map_err(|error| to_stream_error(&error))?;
        let header = object
            .header_unless_large(|_| true, || permit.wait())
            .map_err(|error| to_stream_error(&error))?;
        let Some(path) = path_of(&header, objects, rule)? else {
            unrequested_count += 1;
            if unrequested_count > MAX_UNREQUESTED {
                return Err(StreamError::Unreadable("too many instances that were not requested"));
            }
            continue;
        };
        // A truncated instance is an error, as in rendering and in the embedded archive, even if its part of the body is complete.
        object.skip_native_pixel_data(&header).map_err(|error| to_stream_error(&error))?;
        let mut row = Vec::new();
        metadata::write(&mut row, header, format!("{public_url}/{path}"))
            .map_err(|_| StreamError::Unreadable("an instance that cannot be written"))?;
        // What reads the row may wait for the permit.
        drop(permit);
        output.send(Bytes::from(row))?;
    }
    Ok(())
}

/// Returns the path of the instance with `header`, relative to the root of the archive; `None` if the instance does not belong
/// to `objects`. `rule` is that of the archive.
fn path_of(header: &Header, objects: &DicomResource, rule: UidRule) -> Result<Option<String>, StreamError> {
    let uid = |tag| header.data.text(tag).ok_or(StreamError::Unreadable("an instance without its UIDs"));
    let invalid_uid = |_| StreamError::Unreadable("an instance with an invalid UID");
    let study = StudyUid::parse_by(rule, uid(tags::STUDY_INSTANCE_UID)?).map_err(invalid_uid)?;
    let series = SeriesUid::parse_by(rule, uid(tags::SERIES_INSTANCE_UID)?).map_err(invalid_uid)?;
    let instance = SopInstanceUid::parse_by(rule, uid(tags::SOP_INSTANCE_UID)?).map_err(invalid_uid)?;
    let is_requested = match objects {
        DicomResource::Study(requested_study) => *requested_study == study,
        DicomResource::Series(requested_study, requested_series) => {
            *requested_study == study && *requested_series == series
        }
        DicomResource::Instance(requested_study, requested_series, requested_instance)
        | DicomResource::Frames(requested_study, requested_series, requested_instance, _) => {
            *requested_study == study && *requested_series == series && *requested_instance == instance
        }
    };
    Ok(is_requested.then(|| DicomResource::Instance(study, series, instance).path()))
}

/// Converts an error of the parser, whose text may contain values, to an error of the response.
pub(super) fn to_stream_error(error: &ReadError) -> StreamError {
    if let ReadError::Io(error) = error
        && let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<StreamError>())
    {
        return error.clone();
    }
    StreamError::Unreadable(match error {
        ReadError::NotDicom => "an object that is not a DICOM file (PS3.10)",
        ReadError::Directory => "a DICOMDIR among the instances",
        ReadError::TransferSyntax(_) => "an instance in a transfer syntax that cannot be read",
        ReadError::TooLarge => "an instance whose attributes are too large",
        ReadError::Truncated => "an instance that is truncated",
        ReadError::Malformed(_) | ReadError::Io(_) => "an instance whose structure is malformed",
    })
}
