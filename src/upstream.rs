//! One upstream PACS: the only place that touches the HTTP client.
//!
//! An [`UpstreamRequest`] is the only way in, and every call has a permit, a deadline and a breaker. What is peculiar to a brand is
//! data in a [`Profile`]. Redirects are never followed, the environment's proxies are never used, and nothing of a
//! caller's request crosses but a list of headers. This room knows DICOM JSON; it knows no FHIR and no caller.

mod circuit_breaker;
mod client;
mod error;
mod profile;
mod qido;
mod request;
mod response;
mod settings;
mod transport;
mod wado;

pub use crate::archive_id::{ArchiveId, ArchiveIdError};
pub use client::Archive;
pub use error::{
    ArchiveError, ArchiveErrorKind, ConnectFailure, DEFAULT_RETRY_AFTER, ErrorClass, retry_after,
    whole_seconds,
};
pub use profile::{DetailSource, PROFILES, Profile, Synthesized, SynthesizedSet};
pub use qido::{
    AskedQuery, IncludeStyle, MatchValue, MatchingOption, PageEnd, Pager, QidoQuery, RowFilter, RowIdentity,
    RowsEnd, SearchLevel, Unaskable,
};
pub use request::{Class, FORWARDED_HEADERS, UpstreamRequest};
pub use response::{UpstreamBody, UpstreamResponse};
pub use settings::{Credentials, Settings, SettingsError};
pub use transport::is_forbidden_address;
pub use wado::retrieve::{DicomResource, PathSegment, Rendering, Retrieval};
pub use wado::uri::{WadoUri, WadoUriError};
