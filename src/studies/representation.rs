//! How much of a resource is shown (R4 search#summary, search#elements), and how deep a study has to be fetched for that.

use super::Depth;
use fhir_r4::types::{Narrated, Projection, project};

/// How much of a resource is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Representation {
    /// All of it.
    #[default]
    Full,
    /// `_summary=true`.
    Summary,
    /// `_summary=text`.
    Text,
    /// `_summary=data`.
    Data,
    /// `_elements`: the names of root elements, sorted, each once.
    Elements(Box<[Box<str>]>),
}

impl Representation {
    /// How deep a study must be fetched for this form.
    pub(super) fn depth(&self) -> Depth {
        match self {
            Self::Full | Self::Data => Depth::Instances,
            Self::Summary => Depth::Series,
            Self::Text => Depth::Study,
            Self::Elements(names) => {
                let below = |name: &str| name == "series";
                // Counts and sums that the archive does not return are computed from the series, which also contain the series
                // elements.
                let computed = |name: &str| {
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
                if names.iter().any(|name| below(name)) {
                    Depth::Instances
                } else if names.iter().any(|name| computed(name)) {
                    Depth::Series
                } else {
                    Depth::Study
                }
            }
        }
    }

    /// Serializes the selected elements of `resource` as JSON.
    pub(super) fn project<R: Narrated>(&self, resource: &R) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Full => project(resource, Projection::Full),
            Self::Data => project(resource, Projection::Data),
            Self::Summary => project(resource, Projection::Summary),
            Self::Text => project(resource, Projection::Text),
            Self::Elements(names) => {
                let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
                project(resource, Projection::Elements(&names))
            }
        }
    }

    /// Distinguishes the form in a cache key.
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
