//! Sends the PDF document or the video that an instance encapsulates, as its rendered resource (PS3.18 8.7.4).
//!
//! The content is sent as it is stored, while it is read. Its first bytes determine its media type: the transfer syntaxes of MPEG-4
//! and HEVC contain MP4 files or MPEG transport streams (PS3.5 8.2.7), and only the former are `video/mp4`. A transport stream has
//! no rendered media type (PS3.18 table 8.7.4-1).

use std::io::Read;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, Response};
use tokio::sync::oneshot;

use super::held_output::HeldOutput;
use super::instances::{ObjectReader, OutputSender, is_requested_instance, retrieve};
use super::list;
use super::metadata::to_stream_error;
use super::values::frame_error;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::assembled;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::dicomweb::request::accept::type_parameter;
use crate::dicomweb::request::payload::PayloadLayout;
use crate::http::negotiation::{MediaRange, applicable_range, covers};
use crate::upstream::{Archive, DicomResource};
use dicom_model::encapsulated_pixel_data::{Stream, is_video};
use dicom_model::json::writer::Step;
use dicom_model::part10::{Header, Object, StoredValue};
use dicom_model::{Tag, tags};
use dicom_render::{Format, RenderError};
use http_messages::body::Body;
use http_messages::multipart::writer::PartWriter;

const PDF: &str = "application/pdf";
const MP4: &str = "video/mp4";
const MPEG: &str = "video/mpeg";

/// Encapsulated PDF Storage (PS3.4 B.5).
pub(in crate::dicomweb) const ENCAPSULATED_PDF_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.104.1";

/// Size of a chunk of a document in bytes.
const CHUNK_SIZE: u64 = 64 * 1024;

/// The number of bytes at the beginning of a document that contain its signature: programs that read PDF accept other bytes before
/// it.
const SIGNATURE_RANGE: usize = 1024;

/// The number of bytes at the beginning of a video that show its format.
const VIDEO_SIGNATURE_LEN: usize = 8;

/// The attributes that identify the instance and its content.
const CONTENT_TAGS: [Tag; 4] =
    [tags::SOP_CLASS_UID, tags::SOP_INSTANCE_UID, tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID];

/// Whether `ranges` accept a media type that encapsulated content can have.
pub(in crate::dicomweb) fn accepts_encapsulated_content(ranges: &[MediaRange]) -> bool {
    [PDF, MP4, MPEG].iter().any(|media_type| choose_layout(ranges, media_type).is_some())
}

/// Responds with the content of `instance` in a layout that `ranges` accept. `rendering_parameter` is a rendering parameter of the request,
/// none of which can be applied to the content.
pub(in crate::dicomweb) async fn respond_with_encapsulated_content(
    archive: &Archive,
    instance: &DicomResource,
    ranges: &[MediaRange],
    rendering_parameter: Option<&'static str>,
) -> Result<Response<Body>, DicomwebError> {
    let instances = retrieve(archive, instance).await?;
    let (sender, beginning) = oneshot::channel();
    let search = ContentSearch { instance: instance.clone(), ranges: ranges.to_vec(), rendering_parameter };
    let mut chunks = instances.process(move |reader, output| search.run(reader, output, sender));
    match beginning.await {
        Ok(ContentBeginning::Content { content_type }) => {
            let content_type =
                HeaderValue::from_str(&content_type).map_err(|_| DicomwebError::Interrupted)?;
            Ok(assembled::with_type(content_type, list::streamed_body(archive, chunks)))
        }
        Ok(ContentBeginning::Rejected(error)) => Err(error),
        Err(_) => Err(match chunks.next().await {
            Some(Err(error)) => error.before_response(archive),
            _ => DicomwebError::Interrupted,
        }),
    }
}

/// Returns the layout of a body with content of `media_type` that `ranges` accept; `None` if they accept none. A single part is the
/// default.
fn choose_layout(ranges: &[MediaRange], media_type: &str) -> Option<PayloadLayout> {
    let single_weight = applicable_range(ranges, media_type).map_or(0.0, |(_, range)| range.weight);
    let includes = |range: &&MediaRange| {
        range.essence == "multipart/related"
            && type_parameter(range).is_none_or(|inner| covers(&inner, media_type))
    };
    let part_weight = ranges.iter().filter(includes).map(|range| range.weight).fold(0.0, f32::max);
    if single_weight > 0.0 && single_weight >= part_weight {
        return Some(PayloadLayout::Single);
    }
    (part_weight > 0.0).then_some(PayloadLayout::Parts)
}

/// Returns the media type of a video that begins with `beginning`; `None` for an MPEG transport stream and anything else without a
/// rendered media type.
fn video_type(beginning: &[u8]) -> Option<&'static str> {
    match beginning {
        // The file type box (ISO/IEC 14496-12 4.3) after its length.
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(MP4),
        // The sequence header of an elementary stream (ISO/IEC 13818-2 6.2.2.1), or the pack header of a program stream (ISO/IEC
        // 13818-1 2.5.3.3).
        [0, 0, 1, 0xB3 | 0xBA, ..] => Some(MPEG),
        _ => None,
    }
}

/// The beginning of the response.
#[derive(Debug)]
enum ContentBeginning {
    /// The content follows.
    Content { content_type: String },
    /// The instance has no content that can be sent.
    Rejected(DicomwebError),
}

/// The search for the content in the objects of a retrieval.
struct ContentSearch {
    instance: DicomResource,
    ranges: Vec<MediaRange>,
    rendering_parameter: Option<&'static str>,
}

impl ContentSearch {
    fn run(
        self,
        reader: &mut ObjectReader,
        output: &OutputSender,
        beginning: oneshot::Sender<ContentBeginning>,
    ) -> Result<(), StreamError> {
        while reader.advance()? {
            let mut permit = reader.header_permit();
            let mut object = Object::open(&mut *reader, None).map_err(|error| to_stream_error(&error))?;
            let document = [Step::Attribute(tags::ENCAPSULATED_DOCUMENT)];
            let header = object.header_up_to(&document, |tag| CONTENT_TAGS.contains(&tag), || permit.wait());
            let header = header.map_err(|error| to_stream_error(&error))?;
            // What remains of the header is small.
            drop(permit);
            // An archive may return other instances too. The UIDs of the instance precede its content.
            if is_requested_instance(&header, &self.instance) {
                return self.send_content(&header, &mut object, output, beginning);
            }
        }
        Err(StreamError::Unreadable("only instances that were not requested"))
    }

    fn send_content(
        &self,
        header: &Header,
        object: &mut impl Read,
        output: &OutputSender,
        beginning: oneshot::Sender<ContentBeginning>,
    ) -> Result<(), StreamError> {
        let is_pdf = header.data.text(tags::SOP_CLASS_UID) == Some(ENCAPSULATED_PDF_STORAGE);
        match (header.requested_value, header.pixel_data) {
            (Some(StoredValue { length: Some(length), .. }), _) if is_pdf => {
                self.send_document(length, object, output, beginning)
            }
            (_, Some(pixel_data))
                if pixel_data.value.length.is_none() && is_video(header.transfer_syntax) =>
            {
                self.send_video(header.transfer_syntax, object, output, beginning)
            }
            (_, Some(_)) => {
                let available = Format::ALL.map(Format::media_type).to_vec();
                reject(beginning, DicomwebError::ObjectMediaTypes { available });
                Ok(())
            }
            (_, None) => {
                reject(beginning, RenderError::NoImage.into());
                Ok(())
            }
        }
    }

    /// Sends the document, whose value has `length` bytes, without its padding.
    fn send_document(
        &self,
        length: u64,
        object: &mut impl Read,
        output: &OutputSender,
        beginning: oneshot::Sender<ContentBeginning>,
    ) -> Result<(), StreamError> {
        let mut remaining = length;
        let mut chunk = read_chunk(object, &mut remaining)?;
        let signature_range = &chunk[..chunk.len().min(SIGNATURE_RANGE)];
        if memchr::memmem::find(signature_range, b"%PDF-").is_none() {
            reject(beginning, RenderError::Malformed("its document is not PDF").into());
            return Ok(());
        }
        let Some((mut held, parts)) = self.open(PDF, output, beginning)? else { return Ok(()) };
        while remaining > 0 {
            held.count_read(chunk.len())?;
            held.send(std::mem::take(&mut chunk).into())?;
            chunk = read_chunk(object, &mut remaining)?;
        }
        // A value of odd length is padded with a zero byte (PS3.5 6.2), with which no PDF document ends.
        if chunk.last() == Some(&0) {
            chunk.pop();
        }
        held.send(chunk.into())?;
        held.begin()?;
        parts.map_or(Ok(()), |parts| held.send(parts.end().into()))
    }

    fn send_video(
        &self,
        transfer_syntax: &'static str,
        object: &mut impl Read,
        output: &OutputSender,
        beginning: oneshot::Sender<ContentBeginning>,
    ) -> Result<(), StreamError> {
        let mut stream =
            Stream::open(object, 1, transfer_syntax, None).map_err(|error| frame_error(&error))?;
        let mut next = || -> Result<Option<Bytes>, StreamError> {
            let part = stream.next(object).map_err(|error| frame_error(&error))?;
            Ok(part.map(|part| part.bytes))
        };
        let mut start = Vec::new();
        while start.len() < VIDEO_SIGNATURE_LEN
            && let Some(bytes) = next()?
        {
            start.extend_from_slice(&bytes);
        }
        let Some(media_type) = video_type(&start) else {
            let video = "a video that is neither an MP4 file nor an MPEG program or elementary stream";
            reject(beginning, RenderError::Unsupported(video).into());
            return Ok(());
        };
        let Some((mut held, parts)) = self.open(media_type, output, beginning)? else { return Ok(()) };
        let mut chunk = Some(Bytes::from(start));
        while let Some(bytes) = chunk {
            held.count_read(bytes.len())?;
            held.send(bytes)?;
            chunk = next()?;
        }
        held.begin()?;
        parts.map_or(Ok(()), |parts| held.send(parts.end().into()))
    }

    /// Opens the output of content of `media_type`, with the writer of its part if the body is multipart; `None`, and an error for the
    /// client, if the request does not accept it.
    fn open<'a>(
        &self,
        media_type: &'static str,
        output: &'a OutputSender,
        beginning: oneshot::Sender<ContentBeginning>,
    ) -> Result<Option<ContentOutput<'a>>, StreamError> {
        let (content_type, mut parts) = match self.accept(media_type) {
            Ok(layout) => layout,
            Err(error) => {
                reject(beginning, error);
                return Ok(None);
            }
        };
        let mut held = HeldOutput::new(output, beginning, ContentBeginning::Content { content_type });
        if let Some(parts) = &mut parts {
            held.send(parts.begin_part(media_type, None).into())?;
        }
        Ok(Some((held, parts)))
    }

    /// Returns the Content-Type of a body with content of `media_type`, and the writer of its part if it is multipart; an error if the
    /// request does not accept the content as it is stored.
    fn accept(&self, media_type: &'static str) -> Result<(String, Option<PartWriter>), DicomwebError> {
        let layout = match choose_layout(&self.ranges, media_type) {
            Some(PayloadLayout::Single) => (media_type.to_owned(), None),
            Some(PayloadLayout::Parts) => {
                let parts = PartWriter::new();
                (parts.content_type(media_type), Some(parts))
            }
            None => return Err(DicomwebError::ObjectMediaTypes { available: vec![media_type] }),
        };
        match self.rendering_parameter {
            Some(name) => Err(DicomwebError::UnsupportedRenderParameter(name)),
            None => Ok(layout),
        }
    }
}

/// The output of content, and the writer of its part if the body is multipart.
type ContentOutput<'a> = (HeldOutput<'a, ContentBeginning>, Option<PartWriter>);

/// Reports that the response is `error`.
fn reject(beginning: oneshot::Sender<ContentBeginning>, error: DicomwebError) {
    // The client may have disconnected.
    let _ = beginning.send(ContentBeginning::Rejected(error));
}

/// Reads the next chunk of a value of which `remaining` bytes have not been read.
fn read_chunk(source: &mut impl Read, remaining: &mut u64) -> Result<Vec<u8>, StreamError> {
    let chunk_size = (*remaining).min(CHUNK_SIZE);
    let mut bytes = Vec::with_capacity(usize::try_from(chunk_size).unwrap_or_default());
    let read_length = source.take(chunk_size).read_to_end(&mut bytes);
    if read_length.map_or(true, |read_length| (read_length as u64) < chunk_size) {
        return Err(StreamError::Unreadable("an instance that is truncated"));
    }
    *remaining -= chunk_size;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::negotiation;
    use http::{HeaderMap, header};

    #[test]
    fn the_first_bytes_of_a_video_determine_its_media_type() {
        assert_eq!(video_type(b"\0\0\0\x20ftypisom"), Some(MP4));
        assert_eq!(video_type(b"\0\0\x01\xB3\x16\0\xF0\xC4"), Some(MPEG));
        assert_eq!(video_type(b"\0\0\x01\xBA\x44\0\x04\0"), Some(MPEG));
        assert_eq!(video_type(b"\x47\x40\0\x10\0\0\xB0\x0D"), None, "a transport stream");
        assert_eq!(video_type(b"\0\0\0\x01\x67\x64\0\x29"), None, "an elementary stream of MPEG-4");
        assert_eq!(video_type(b"ftyp"), None);
    }

    #[test]
    fn content_is_a_single_part_unless_the_client_prefers_parts() {
        let (single, parts) = (Some(PayloadLayout::Single), Some(PayloadLayout::Parts));
        for (accept, media_type, expected) in [
            ("*/*", MP4, single),
            ("video/*", MP4, single),
            ("video/*", PDF, None),
            ("application/pdf, image/jpeg", PDF, single),
            ("application/pdf;q=0, */*", PDF, None),
            ("multipart/related; type=\"video/mp4\"", MP4, parts),
            ("multipart/related; type=\"video/*\"", MPEG, parts),
            ("multipart/related; type=\"video/mp4\"", MPEG, None),
            ("multipart/related, application/pdf;q=0.5", PDF, parts),
            ("multipart/related;q=0.1, application/pdf;q=0.5", PDF, single),
            ("image/png", MP4, None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(
                choose_layout(&negotiation::ranges(&headers), media_type),
                expected,
                "{accept} {media_type}"
            );
        }
    }
}
