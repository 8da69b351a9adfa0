//! Which elements of a resource are returned (R4 search#summary, search#elements), and how deep a study must be fetched for them.

use super::Depth;
use fhir_r4::types::{ElementSubset, HasNarrative, project};

/// The elements of a resource that are returned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Representation {
    /// All elements.
    #[default]
    Full,
    /// The elements of `_summary=true`.
    Summary,
    /// The elements of `_summary=text`.
    Text,
    /// The elements of `_summary=data`.
    Data,
    /// The elements of `_elements`: names of elements of the resource type, sorted, without duplicates.
    Elements(Box<[Box<str>]>),
}

impl Representation {
    /// Returns how deep a study must be fetched for this representation.
    pub(super) fn depth(&self) -> Depth {
        match self {
            Self::Full | Self::Data => Depth::Instances,
            Self::Summary => Depth::Series,
            Self::Text => Depth::Study,
            Self::Elements(names) => {
                let contains_instances = |name: &str| name == "series";
                // These elements are mapped from series: counts that the row of the study lacks, and attributes of the series.
                let depends_on_series = |name: &str| {
                    matches!(
                        name,
                        "basedOn"
                            | "location"
                            | "modality"
                            | "note"
                            | "numberOfSeries"
                            | "procedureReference"
                            | "reasonCode"
                    )
                };
                if names.iter().any(|name| contains_instances(name)) {
                    Depth::Instances
                } else if names.iter().any(|name| depends_on_series(name)) {
                    Depth::Series
                } else {
                    Depth::Study
                }
            }
        }
    }

    /// Serializes the selected elements of `resource` as JSON.
    pub(super) fn project<R: HasNarrative>(&self, resource: &R) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Full => project(resource, ElementSubset::Full),
            Self::Data => project(resource, ElementSubset::Data),
            Self::Summary => project(resource, ElementSubset::Summary),
            Self::Text => project(resource, ElementSubset::Text),
            Self::Elements(names) => {
                let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
                project(resource, ElementSubset::Elements(&names))
            }
        }
    }

    /// Returns the parts of a cache key that identify the representation.
    pub(super) fn key_parts(&self) -> impl Iterator<Item = &str> {
        let (name, elements): (_, &[Box<str>]) = match self {
            Self::Full => ("full", &[]),
            Self::Summary => ("summary", &[]),
            Self::Text => ("text", &[]),
            Self::Data => ("data", &[]),
            Self::Elements(names) => ("elements", names),
        };
        std::iter::once(name).chain(elements.iter().map(AsRef::as_ref))
    }
}
