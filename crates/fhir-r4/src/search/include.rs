//! Parses `_include` and `_revinclude` (R4 search#include, search#revinclude), which request resources that matches refer to, or
//! that refer to matches. This module does not retrieve resources.

use super::{ImagingStudyParam as Param, Parameter, ParameterType, ResourceType, Searchable};
use crate::types::{Endpoint, ImagingStudy, Patient};

/// An element of ImagingStudy that refers to a resource of this server. Other references of a study have targets that are not
/// served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReferenceElement {
    /// ImagingStudy.subject, which refers to a Patient.
    Subject,
    /// ImagingStudy.endpoint, which refers to Endpoints.
    Endpoint,
}

impl ReferenceElement {
    const ALL: [Self; 2] = [Self::Subject, Self::Endpoint];

    /// Returns the type of the target.
    pub fn target(self) -> ResourceType {
        match self {
            Self::Subject => ResourceType::Patient,
            Self::Endpoint => ResourceType::Endpoint,
        }
    }

    fn is_value_of(self, parameter: &Parameter<ImagingStudy>) -> bool {
        match self {
            Self::Subject => matches!(parameter.key, Param::Patient | Param::Subject),
            Self::Endpoint => parameter.key == Param::Endpoint,
        }
    }

    /// Returns the values of `_include` for a search of `resource_type`, for the CapabilityStatement.
    pub fn includes_of(resource_type: ResourceType) -> Vec<String> {
        if resource_type != ResourceType::ImagingStudy {
            return Vec::new();
        }
        std::iter::once("*".to_owned()).chain(Self::ALL.into_iter().flat_map(Self::parameter_names)).collect()
    }

    /// Returns the values of `_revinclude` for a search of `resource_type`, for the CapabilityStatement.
    pub fn reverse_includes_of(resource_type: ResourceType) -> Vec<String> {
        Self::ALL
            .into_iter()
            .filter(|reference| reference.target() == resource_type)
            .flat_map(Self::parameter_names)
            .collect()
    }

    fn parameter_names(self) -> Vec<String> {
        let parameters = Parameter::all().filter(|parameter| self.is_value_of(parameter));
        parameters.map(|parameter| format!("ImagingStudy:{}", parameter.name)).collect()
    }
}

/// One `_include` or `_revinclude`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// The references to follow; empty if the targets of the parameter are not served.
    pub references: Vec<ReferenceElement>,
    /// Whether the parameter also applies to included resources (`:iterate`).
    pub iterate: bool,
}

impl Include {
    /// Parses `Type:parameter[:Target]`, `Type:*` or `*`; `None` for another form, or if the parameter is not a reference parameter.
    pub(super) fn parse(value: &str, iterate: bool) -> Option<Self> {
        let all_references = || Some(Self { references: ReferenceElement::ALL.to_vec(), iterate });
        let no_references = || Some(Self { references: Vec::new(), iterate });
        let mut parts = value.split(':');
        let (source, parameter, target) = (parts.next()?, parts.next(), parts.next());
        if parts.next().is_some() {
            return None;
        }
        match (ResourceType::parse(source), parameter, target) {
            (None, None, None) if source == "*" => all_references(),
            (Some(ResourceType::ImagingStudy), Some("*"), None) => all_references(),
            (Some(_), Some("*"), None) => no_references(),
            (Some(ResourceType::ImagingStudy), Some(parameter), target) => {
                let parameter = reference_parameter(parameter, target)?;
                let is_selected = |reference: &ReferenceElement| {
                    reference.is_value_of(parameter)
                        && target.is_none_or(|target| target == reference.target().name())
                };
                Some(Self {
                    references: ReferenceElement::ALL.into_iter().filter(is_selected).collect(),
                    iterate,
                })
            }
            (Some(ResourceType::Patient), Some(parameter), target) => {
                reference_parameter::<Patient>(parameter, target).and_then(|_| no_references())
            }
            (Some(ResourceType::Endpoint), Some(parameter), target) => {
                reference_parameter::<Endpoint>(parameter, target).and_then(|_| no_references())
            }
            _ => None,
        }
    }
}

/// Returns the reference parameter with this name, if it can refer to `target`.
fn reference_parameter<R: Searchable>(name: &str, target: Option<&str>) -> Option<&'static Parameter<R>> {
    let parameter = Parameter::<R>::with_name(name)?;
    let is_valid = parameter.kind == ParameterType::Reference
        && target.is_none_or(|target| parameter.targets.contains(&target));
    is_valid.then_some(parameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &str) -> Option<Vec<ReferenceElement>> {
        Include::parse(value, false).map(|include| include.references)
    }

    #[test]
    fn include_follows_the_references_of_its_parameter() {
        assert_eq!(references("ImagingStudy:endpoint"), Some(vec![ReferenceElement::Endpoint]));
        assert_eq!(references("ImagingStudy:subject:Patient"), Some(vec![ReferenceElement::Subject]));
        assert_eq!(references("ImagingStudy:subject:Group"), Some(vec![]));
        assert_eq!(references("ImagingStudy:referrer"), Some(vec![]));
        assert_eq!(references("ImagingStudy:*"), Some(ReferenceElement::ALL.to_vec()));
        assert_eq!(references("*"), Some(ReferenceElement::ALL.to_vec()));
        assert_eq!(references("Patient:link"), Some(vec![]));
    }

    #[test]
    fn include_without_a_reference_parameter_is_rejected() {
        for invalid in [
            "",
            "ImagingStudy",
            "ImagingStudy:started",
            "ImagingStudy:nonsense",
            "ImagingStudy:patient:Device",
            "Observation:subject",
            "imagingstudy:endpoint",
            "ImagingStudy:patient:Patient:x",
        ] {
            assert_eq!(references(invalid), None, "{invalid}");
        }
    }
}
