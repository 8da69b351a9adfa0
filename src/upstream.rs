//! One upstream PACS: the only module that uses an HTTP client.
//!
//! Every call is an [`UpstreamRequest`], built from typed parts, and every call has a permit, a deadline and a circuit breaker. Calls
//! wait for permits in a bounded queue, in the order of the priorities of their client requests. A [`Profile`] describes the quirks
//! of a product, or what a probe has found out about an archive. Redirects are never followed, proxies named in the environment are never used, and of the headers of a caller only
//! [`FORWARDED_HEADERS`] are sent to the archive. The module depends on DICOM JSON, but neither on FHIR nor on the caller.

mod call_queue;
mod change_feed;
mod client;
mod content_coding;
mod error;
mod large_object;
mod probe;
mod probed_profile;
mod profile;
mod qido;
mod request;
mod response;
mod settings;
mod transfer_rate;
mod transport;
mod wado;

pub use crate::archive_id::{ArchiveId, ArchiveIdError};
pub use crate::circuit_breaker::Health;
pub use change_feed::ArchiveChanges;
pub use client::Archive;
pub use content_coding::ContentCoding;
pub use error::{
    ArchiveError, ArchiveErrorKind, ConnectFailure, ErrorClass, UNREQUESTED_PART, retry_after, whole_seconds,
};
pub use large_object::{LargeObjectAdmission, LargeObjectPermit};
pub use probe::{ProbeFindings, UnknownKeys};
pub use probed_profile::{NoProbeMemory, ProbeMemory, RememberedFindings};
pub use profile::{DetailSource, MAX_UIDS_PER_QUERY, PROFILES, Profile, Synthesized, SynthesizedSet};
pub use qido::{
    ExactKeys, IncludeStyle, MAX_SEARCH_ROW_LEN, MatchValue, MatchingOption, NarrowedQuery, PageEnd, Pager,
    QidoQuery, RowFilter, RowIdentity, RowsOutcome, SearchLevel, UnsearchableValue, is_object_uid,
};
pub use request::{FORWARDED_HEADERS, OBJECT_MEDIA_TYPES, RequestClass, UpstreamRequest};
pub use response::{UpstreamBody, UpstreamResponse};
pub use settings::{Credentials, Settings, SettingsError};
pub use transport::is_forbidden_address;
pub use wado::retrieve::{ArchiveQuery, DicomResource, PathSegment, Rendering, Retrieval};
pub use wado::uri::{WadoUri, WadoUriError};
