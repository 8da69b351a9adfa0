//! What goes with the matches (R4 search#include, search#revinclude): resources that they refer to, or that refer to them.

use super::{Parameter, ParameterType, ResourceType, Searched};
use crate::types::{Endpoint, ImagingStudy, Patient};

/// The references between resources of this server. Studies refer to other things too, but none of those is served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edge {
    /// From an ImagingStudy to its Patient.
    StudyToPatient,
    /// From an ImagingStudy to its Endpoints.
    StudyToEndpoint,
}

impl Edge {
    const ALL: [Self; 2] = [Self::StudyToPatient, Self::StudyToEndpoint];

    /// What it leads to.
    pub fn target(self) -> ResourceType {
        match self {
            Self::StudyToPatient => ResourceType::Patient,
            Self::StudyToEndpoint => ResourceType::Endpoint,
        }
    }

    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::StudyToPatient => &["patient", "subject"],
            Self::StudyToEndpoint => &["endpoint"],
        }
    }

    /// What can be included in a search of `kind`, as the CapabilityStatement names it.
    pub fn includes_of(kind: ResourceType) -> Vec<String> {
        if kind != ResourceType::ImagingStudy {
            return Vec::new();
        }
        std::iter::once("*".to_owned()).chain(Self::ALL.into_iter().flat_map(Self::names)).collect()
    }

    /// What can be included in a search of `kind` because it refers to the matches, as the CapabilityStatement names it.
    pub fn reverse_includes_of(kind: ResourceType) -> Vec<String> {
        Self::ALL.into_iter().filter(|edge| edge.target() == kind).flat_map(Self::names).collect()
    }

    fn names(self) -> Vec<String> {
        self.parameters().iter().map(|parameter| format!("ImagingStudy:{parameter}")).collect()
    }
}

/// One `_include` or `_revinclude`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Where it leads; a parameter that leads to nothing that is served leads nowhere.
    pub edges: Vec<Edge>,
    /// Whether it applies to what was included, too (`:iterate`).
    pub iterate: bool,
}

impl Include {
    /// Reads `Type:parameter[:Target]`, `Type:*` or `*`; `None` for what names no reference parameter.
    pub(super) fn read(value: &str, iterate: bool) -> Option<Self> {
        let all = || Some(Self { edges: Edge::ALL.to_vec(), iterate });
        let nowhere = || Some(Self { edges: Vec::new(), iterate });
        let mut parts = value.split(':');
        let (source, parameter, target) = (parts.next()?, parts.next(), parts.next());
        if parts.next().is_some() {
            return None;
        }
        match (ResourceType::parse(source), parameter, target) {
            (None, None, None) if source == "*" => all(),
            (Some(ResourceType::ImagingStudy), Some("*"), None) => all(),
            (Some(_), Some("*"), None) => nowhere(),
            (Some(ResourceType::ImagingStudy), Some(parameter), target) => {
                is_reference::<ImagingStudy>(parameter, target)?;
                let leads = |edge: &Edge| {
                    edge.parameters().contains(&parameter)
                        && target.is_none_or(|target| target == edge.target().name())
                };
                Some(Self { edges: Edge::ALL.into_iter().filter(leads).collect(), iterate })
            }
            (Some(ResourceType::Patient), Some(parameter), target) => {
                is_reference::<Patient>(parameter, target).and_then(|()| nowhere())
            }
            (Some(ResourceType::Endpoint), Some(parameter), target) => {
                is_reference::<Endpoint>(parameter, target).and_then(|()| nowhere())
            }
            _ => None,
        }
    }
}

fn is_reference<R: Searched>(parameter: &str, target: Option<&str>) -> Option<()> {
    let parameter = Parameter::<R>::named(parameter)?;
    let fits = parameter.kind == ParameterType::Reference
        && target.is_none_or(|target| parameter.targets.contains(&target));
    fits.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(value: &str) -> Option<Vec<Edge>> {
        Include::read(value, false).map(|include| include.edges)
    }

    #[test]
    fn an_include_leads_where_its_parameter_does() {
        assert_eq!(edges("ImagingStudy:endpoint"), Some(vec![Edge::StudyToEndpoint]));
        assert_eq!(edges("ImagingStudy:subject:Patient"), Some(vec![Edge::StudyToPatient]));
        assert_eq!(edges("ImagingStudy:subject:Group"), Some(vec![]));
        assert_eq!(edges("ImagingStudy:referrer"), Some(vec![]));
        assert_eq!(edges("ImagingStudy:*"), Some(Edge::ALL.to_vec()));
        assert_eq!(edges("*"), Some(Edge::ALL.to_vec()));
        assert_eq!(edges("Patient:link"), Some(vec![]));
    }

    #[test]
    fn what_names_no_reference_is_refused() {
        for bad in [
            "",
            "ImagingStudy",
            "ImagingStudy:started",
            "ImagingStudy:nonsense",
            "ImagingStudy:patient:Device",
            "Observation:subject",
            "imagingstudy:endpoint",
            "ImagingStudy:patient:Patient:x",
        ] {
            assert_eq!(edges(bad), None, "{bad}");
        }
    }
}
