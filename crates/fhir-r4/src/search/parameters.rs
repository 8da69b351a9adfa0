//! The tables: for each resource type every search parameter of R4, with its definition, where a resource has its values,
//! and how it is answered.

mod common;
mod endpoint;
mod imaging_study;
mod patient;

pub use endpoint::EndpointParam;
pub use imaging_study::ImagingStudyParam;
pub use patient::PatientParam;

use super::ResourceType;
use super::parameter::Parameter;
use crate::types::Meta;

/// A type of resource that is searched for.
pub trait Searched: Sized + 'static {
    /// Its parameters, by which code tells them apart.
    type Param: Copy + Eq + std::fmt::Debug;

    /// Which.
    const TYPE: ResourceType;
    /// How `_id` is answered.
    const ID_NOTE: &'static str;
    /// How `_lastUpdated` is answered.
    const LAST_UPDATED_NOTE: &'static str;
    /// The parameters that only it has.
    const OWN: &'static [Parameter<Self>];
    /// The parameters that every resource has.
    const COMMON: &'static [Parameter<Self>];

    /// Its id.
    fn id(&self) -> &str;

    /// Its meta.
    fn meta(&self) -> Option<&Meta>;
}
