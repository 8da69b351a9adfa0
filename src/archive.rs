//! One upstream PACS: the only place that touches the HTTP client.
//!
//! An [`UpstreamRequest`] is the only way in, and every call has a permit, a deadline and a breaker. What is peculiar to a brand is
//! data in a [`Profile`]. Redirects are never followed, the environment's proxies are never used, and nothing of a
//! caller's request crosses but a list of headers. This room knows DICOM JSON; it knows no FHIR and no caller.

mod breaker;
mod client;
mod error;
mod id;
mod profile;
mod qido;
mod request;
mod response;
mod retrieve;
mod settings;
mod transport;
mod wado_uri;

pub use client::Archive;
pub use error::{
    ArchiveError, ArchiveErrorKind, ConnectFailure, DEFAULT_RETRY_AFTER, ErrorClass, retry_after,
    whole_seconds,
};
pub use id::{ArchiveId, ArchiveIdError};
pub use profile::{DetailSource, PROFILES, Profile, Supplies, Supply};
pub use qido::{
    AskedQuery, IncludeStyle, MatchValue, MatchingManner, PageEnd, Pager, QidoQuery, RowFilter, RowIdentity,
    RowsEnd, SearchLevel, Unaskable,
};
pub use request::{CARRIED, Class, UpstreamRequest};
pub use response::{UpstreamBody, UpstreamResponse};
pub use retrieve::{Objects, PathSegment, Rendering, Retrieval};
pub use settings::{Credentials, Settings, SettingsError};
pub use transport::is_off_limits;
pub use wado_uri::{WadoUri, WadoUriError};
