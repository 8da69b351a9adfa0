//! R4 endpoint.html.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{CodeableConcept, Coding, Extension, Meta};

/// An Endpoint.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(tag = "resourceType", rename_all = "camelCase")]
pub struct Endpoint {
    /// The archive's id.
    pub id: String,
    /// Profiles and tags.
    pub meta: Meta,
    /// Whether retrieval needs a token.
    pub extension: Vec<Extension>,
    /// active.
    pub status: Cow<'static, str>,
    /// What is spoken there.
    pub connection_type: Coding,
    /// The archive's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What can be had there.
    pub payload_type: Vec<CodeableConcept>,
    /// In which format.
    pub payload_mime_type: Vec<Cow<'static, str>>,
    /// The root of the service, without a slash at its end.
    pub address: String,
}
