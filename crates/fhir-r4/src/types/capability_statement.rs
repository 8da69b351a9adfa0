//! The CapabilityStatement (R4 capabilitystatement.html) of a read-only server. This module does not know the capabilities of the
//! server.

use serde::Serialize;

/// A CapabilityStatement.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "resourceType", rename_all = "camelCase")]
pub struct CapabilityStatement {
    /// The status, `active`.
    pub status: &'static str,
    /// Date of the last change of the statement.
    pub date: &'static str,
    /// The kind, `instance`.
    pub kind: &'static str,
    /// The software.
    pub software: Software,
    /// The installation.
    pub implementation: Implementation,
    /// The FHIR version, 4.0.1.
    pub fhir_version: &'static str,
    /// The supported media types.
    pub format: Vec<&'static str>,
    /// One entry, for the server.
    pub rest: Vec<Rest>,
}

/// CapabilityStatement.software.
#[derive(Debug, Clone, Serialize)]
pub struct Software {
    /// The name of the software.
    pub name: &'static str,
    /// The version of the software.
    pub version: &'static str,
}

/// CapabilityStatement.implementation.
#[derive(Debug, Clone, Serialize)]
pub struct Implementation {
    /// Description of the installation.
    pub description: &'static str,
    /// The base URL.
    pub url: String,
}

/// CapabilityStatement.rest.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rest {
    /// The mode, `server`.
    pub mode: &'static str,
    /// Description for people: the limits of the server.
    pub documentation: String,
    /// The access control.
    pub security: Security,
    /// The resource types.
    pub resource: Vec<Resource>,
    /// The system-level interactions.
    pub interaction: Vec<ResourceInteraction>,
    /// The search parameters of all types.
    pub search_param: Vec<SearchParam>,
    /// Compartments that can be searched.
    pub compartment: Vec<&'static str>,
}

/// CapabilityStatement.rest.security.
#[derive(Debug, Clone, Serialize)]
pub struct Security {
    /// Whether pages of other origins may read responses.
    pub cors: bool,
    /// Description for people.
    pub description: &'static str,
}

/// CapabilityStatement.rest.resource.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// The resource type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Profiles that some resources conform to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_profile: Vec<&'static str>,
    /// Description for people.
    pub documentation: &'static str,
    /// The interactions.
    pub interaction: Vec<ResourceInteraction>,
    /// `no-version` or `versioned`.
    pub versioning: &'static str,
    /// Whether past versions can be read.
    pub read_history: bool,
    /// The conditions that a read supports.
    pub conditional_read: &'static str,
    /// The kinds of references.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reference_policy: Vec<&'static str>,
    /// The supported values of `_include`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search_include: Vec<String>,
    /// The supported values of `_revinclude`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search_rev_include: Vec<String>,
    /// The search parameters.
    pub search_param: Vec<SearchParam>,
    /// The operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operation: Vec<Operation>,
}

/// CapabilityStatement.rest.resource.operation.
#[derive(Debug, Clone, Serialize)]
pub struct Operation {
    /// The name in a path, without the dollar sign.
    pub name: &'static str,
    /// The URL of the OperationDefinition.
    pub definition: &'static str,
    /// Description for people.
    pub documentation: &'static str,
}

/// CapabilityStatement.rest.resource.interaction.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceInteraction {
    /// `read`, `vread`, `history-instance`, `search-type` or `batch`.
    pub code: &'static str,
}

/// CapabilityStatement.rest.resource.searchParam.
#[derive(Debug, Clone, Serialize)]
pub struct SearchParam {
    /// The name in a query.
    pub name: &'static str,
    /// The URL of the SearchParameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<&'static str>,
    /// The type of the parameter.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Description for people, with the supported forms.
    pub documentation: String,
}
