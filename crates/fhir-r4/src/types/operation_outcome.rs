//! R4 operationoutcome.html.

use std::borrow::Cow;

use serde::Serialize;

/// An OperationOutcome.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "resourceType")]
pub struct OperationOutcome {
    /// At least one.
    pub issue: Vec<OutcomeIssue>,
}

/// OperationOutcome.issue.
#[derive(Debug, Clone, Serialize)]
pub struct OutcomeIssue {
    /// error, warning, information.
    pub severity: &'static str,
    /// R4 valueset-issue-type.
    pub code: &'static str,
    /// For people.
    pub diagnostics: Cow<'static, str>,
    /// What it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expression: Vec<String>,
}
