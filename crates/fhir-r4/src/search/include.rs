//! Parses `_include` and `_revinclude` (R4 search#include, search#revinclude), which request resources that matches refer to, or
//! that refer to matches. This module does not retrieve resources.

use super::{ImagingStudyParam as Param, Parameter, ParameterType, ResourceType, Searched};
use crate::types::{Endpoint, ImagingStudy, Patient};

/// The references between resources of this server. Studies also refer to resource types that are not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edge {
    /// From an ImagingStudy to its Patient.
    StudyToPatient,
    /// From an ImagingStudy to its Endpoints.
    StudyToEndpoint,
}

impl Edge {
    const ALL: [Self; 2] = [Self::StudyToPatient, Self::StudyToEndpoint];

    /// Returns the type of the target.
    pub fn target(self) -> ResourceType {
        match self {
            Self::StudyToPatient => ResourceType::Patient,
            Self::StudyToEndpoint => ResourceType::Endpoint,
        }
    }

    fn is_read_from(self, parameter: &Parameter<ImagingStudy>) -> bool {
        match self {
            Self::StudyToPatient => matches!(parameter.key, Param::Patient | Param::Subject),
            Self::StudyToEndpoint => parameter.key == Param::Endpoint,
        }
    }

    /// Returns the values of `_include` for a search of `kind`, for the CapabilityStatement.
    pub fn includes_of(kind: ResourceType) -> Vec<String> {
        if kind != ResourceType::ImagingStudy {
            return Vec::new();
        }
        std::iter::once("*".to_owned()).chain(Self::ALL.into_iter().flat_map(Self::parameter_names)).collect()
    }

    /// Returns the values of `_revinclude` for a search of `kind`, for the CapabilityStatement.
    pub fn reverse_includes_of(kind: ResourceType) -> Vec<String> {
        Self::ALL.into_iter().filter(|edge| edge.target() == kind).flat_map(Self::parameter_names).collect()
    }

    fn parameter_names(self) -> Vec<String> {
        let parameters = Parameter::all().filter(|parameter| self.is_read_from(parameter));
        parameters.map(|parameter| format!("ImagingStudy:{}", parameter.name)).collect()
    }
}

/// One `_include` or `_revinclude`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// The references to follow; empty if the targets of the parameter are not served.
    pub edges: Vec<Edge>,
    /// Whether the parameter also applies to included resources (`:iterate`).
    pub iterate: bool,
}

impl Include {
    /// Parses `Type:parameter[:Target]`, `Type:*` or `*`; `None` if it contains no reference parameter.
    pub(super) fn read(value: &str, iterate: bool) -> Option<Self> {
        let all_edges = || Some(Self { edges: Edge::ALL.to_vec(), iterate });
        let no_edges = || Some(Self { edges: Vec::new(), iterate });
        let mut parts = value.split(':');
        let (source, parameter, target) = (parts.next()?, parts.next(), parts.next());
        if parts.next().is_some() {
            return None;
        }
        match (ResourceType::parse(source), parameter, target) {
            (None, None, None) if source == "*" => all_edges(),
            (Some(ResourceType::ImagingStudy), Some("*"), None) => all_edges(),
            (Some(_), Some("*"), None) => no_edges(),
            (Some(ResourceType::ImagingStudy), Some(parameter), target) => {
                let parameter = reference_parameter(parameter, target)?;
                let is_selected = |edge: &Edge| {
                    edge.is_read_from(parameter) && target.is_none_or(|target| target == edge.target().name())
                };
                Some(Self { edges: Edge::ALL.into_iter().filter(is_selected).collect(), iterate })
            }
            (Some(ResourceType::Patient), Some(parameter), target) => {
                reference_parameter::<Patient>(parameter, target).and_then(|_| no_edges())
            }
            (Some(ResourceType::Endpoint), Some(parameter), target) => {
                reference_parameter::<Endpoint>(parameter, target).and_then(|_| no_edges())
            }
            _ => None,
        }
    }
}

/// Returns the reference parameter with this name, if it can refer to `target`.
fn reference_parameter<R: Searched>(name: &str, target: Option<&str>) -> Option<&'static Parameter<R>> {
    let parameter = Parameter::<R>::named(name)?;
    let is_valid = parameter.kind == ParameterType::Reference
        && target.is_none_or(|target| parameter.targets.contains(&target));
    is_valid.then_some(parameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(value: &str) -> Option<Vec<Edge>> {
        Include::read(value, false).map(|include| include.edges)
    }

    #[test]
    fn include_follows_the_references_of_its_parameter() {
        assert_eq!(edges("ImagingStudy:endpoint"), Some(vec![Edge::StudyToEndpoint]));
        assert_eq!(edges("ImagingStudy:subject:Patient"), Some(vec![Edge::StudyToPatient]));
        assert_eq!(edges("ImagingStudy:subject:Group"), Some(vec![]));
        assert_eq!(edges("ImagingStudy:referrer"), Some(vec![]));
        assert_eq!(edges("ImagingStudy:*"), Some(Edge::ALL.to_vec()));
        assert_eq!(edges("*"), Some(Edge::ALL.to_vec()));
        assert_eq!(edges("Patient:link"), Some(vec![]));
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
            assert_eq!(edges(invalid), None, "{invalid}");
        }
    }
}
