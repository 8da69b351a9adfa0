//! R4 patient.html.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{HumanName, Identifier, Meta};

/// A Patient, as far as images tell.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(tag = "resourceType", rename_all = "camelCase")]
pub struct Patient {
    /// A hash of the identifier.
    pub id: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// PatientID first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifier: Vec<Identifier>,
    /// One for each writing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub name: Vec<HumanName>,
    /// male, female, other, unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gender: Option<Cow<'static, str>>,
    /// A day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
}
