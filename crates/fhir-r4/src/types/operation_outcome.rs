//! OperationOutcome (R4 operationoutcome.html).

use std::borrow::Cow;

use serde::Serialize;

/// An OperationOutcome.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "resourceType")]
pub struct OperationOutcome {
    /// The issues; at least one.
    pub issue: Vec<OutcomeIssue>,
}

/// OperationOutcome.issue.
#[derive(Debug, Clone, Serialize)]
pub struct OutcomeIssue {
    /// `error`, `warning` or `information`.
    pub severity: &'static str,
    /// A code of the value set issue-type.
    pub code: &'static str,
    /// Explanation for people.
    pub diagnostics: Cow<'static, str>,
    /// The elements or parameters that the issue concerns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expression: Vec<String>,
}
