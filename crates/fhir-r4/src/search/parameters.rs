//! The parameter tables: for each resource type every search parameter of R4, with its definition, a function that reads its values
//! from a resource, and a description of its evaluation. This module does not know about archives.

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

/// A resource type that can be searched.
pub trait Searchable: Sized + 'static {
    /// The type of the keys of the parameters.
    type Param: Copy + Eq + std::fmt::Debug;

    /// The resource type.
    const TYPE: ResourceType;
    /// The description of the evaluation of `_id`.
    const ID_NOTE: &'static str;
    /// The description of the evaluation of `_lastUpdated`.
    const LAST_UPDATED_NOTE: &'static str;
    /// The parameters that only this type has.
    const TYPE_PARAMETERS: &'static [Parameter<Self>];
    /// The parameters of every resource.
    const COMMON_PARAMETERS: &'static [Parameter<Self>];

    /// Returns the id of the resource.
    fn id(&self) -> &str;

    /// Returns the meta of the resource.
    fn meta(&self) -> Option<&Meta>;
}
