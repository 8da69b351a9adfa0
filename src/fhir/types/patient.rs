//! R4 patient.html.

use serde::Serialize;

use super::{HumanName, Identifier, Meta};

/// A Patient, as far as images tell.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "resourceType", rename_all = "camelCase")]
pub struct Patient {
    /// A hash of the identifier.
    pub id: String,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// PatientID first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identifier: Vec<Identifier>,
    /// One for each writing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub name: Vec<HumanName>,
    /// male, female, other, unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gender: Option<&'static str>,
    /// A day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
}
