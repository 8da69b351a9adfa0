//! R4 capabilitystatement.html, for a server that reads.

use serde::Serialize;

/// A CapabilityStatement.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "resourceType", rename_all = "camelCase")]
pub struct CapabilityStatement {
    /// active.
    pub status: &'static str,
    /// When what it says last changed.
    pub date: &'static str,
    /// instance.
    pub kind: &'static str,
    /// What runs.
    pub software: Software,
    /// Where it runs.
    pub implementation: Implementation,
    /// 4.0.1.
    pub fhir_version: &'static str,
    /// Media types.
    pub format: Vec<&'static str>,
    /// One, for the server.
    pub rest: Vec<Rest>,
}

/// CapabilityStatement.software.
#[derive(Debug, Clone, Serialize)]
pub struct Software {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// CapabilityStatement.implementation.
#[derive(Debug, Clone, Serialize)]
pub struct Implementation {
    /// What it is.
    pub description: &'static str,
    /// The base address.
    pub url: String,
}

/// CapabilityStatement.rest.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rest {
    /// server.
    pub mode: &'static str,
    /// How access is decided.
    pub security: Security,
    /// What is served.
    pub resource: Vec<Resource>,
    /// What can be done with all of it at once.
    pub interaction: Vec<ResourceInteraction>,
    /// What a search over all types can be asked by.
    pub search_param: Vec<SearchParam>,
    /// Compartments that can be searched.
    pub compartment: Vec<&'static str>,
}

/// CapabilityStatement.rest.security.
#[derive(Debug, Clone, Serialize)]
pub struct Security {
    /// In words.
    pub description: &'static str,
}

/// CapabilityStatement.rest.resource.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Profiles that some conform to, and name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_profile: Vec<&'static str>,
    /// In words.
    pub documentation: &'static str,
    /// What can be done.
    pub interaction: Vec<ResourceInteraction>,
    /// no-version, versioned.
    pub versioning: &'static str,
    /// Whether versions that are no longer current can be read.
    pub read_history: bool,
    /// Which conditions a read understands.
    pub conditional_read: &'static str,
    /// How references are written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reference_policy: Vec<&'static str>,
    /// What `_include` understands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search_include: Vec<String>,
    /// What `_revinclude` understands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search_rev_include: Vec<String>,
    /// What can be searched by.
    pub search_param: Vec<SearchParam>,
    /// What else can be done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operation: Vec<Operation>,
}

/// CapabilityStatement.rest.resource.operation.
#[derive(Debug, Clone, Serialize)]
pub struct Operation {
    /// As it stands in a path, without the dollar sign.
    pub name: &'static str,
    /// What defines it.
    pub definition: &'static str,
    /// How it is answered.
    pub documentation: &'static str,
}

/// CapabilityStatement.rest.resource.interaction.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceInteraction {
    /// read, vread, search-type, batch.
    pub code: &'static str,
}

/// CapabilityStatement.rest.resource.searchParam.
#[derive(Debug, Clone, Serialize)]
pub struct SearchParam {
    /// As it stands in a query.
    pub name: &'static str,
    /// What defines it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<&'static str>,
    /// How its values are read.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How it is answered, and how it may be written.
    pub documentation: String,
}
