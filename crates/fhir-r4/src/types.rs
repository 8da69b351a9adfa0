//! The resource types that the gateway writes, according to R4 (4.0.1). Elements are in the order of the specification. Empty
//! elements are omitted, because FHIR has no empty strings, arrays or objects (R4 json.html). ImagingStudy, Patient and Endpoint
//! are also read, without loss. This module does not know the origin of the content.

mod capability_statement;
mod datatypes;
mod element;
mod endpoint;
mod extension;
mod imaging_study;
mod narrative;
mod operation_outcome;
mod patient;
mod projection;
mod root_elements;

pub use capability_statement::{
    CapabilityStatement, Implementation, Operation, Resource, ResourceInteraction, Rest, SearchParam,
    Security, Software,
};
pub use datatypes::{
    Address, Annotation, Attachment, CodeableConcept, Coding, ContactPoint, HumanName, Identifier, Meta,
    Narrative, Period, Reference, to_fhir_string,
};
pub use element::{Element, RawJson};
pub use endpoint::Endpoint;
pub use extension::{Extension, ExtensionValue};
pub use imaging_study::{ImagingStudy, Instance, Performer, Series, SopClass};
pub use narrative::HasNarrative;
pub use operation_outcome::{OperationOutcome, OutcomeIssue};
pub use patient::{Patient, PatientCommunication, PatientContact, PatientLink};
pub use projection::{ElementSubset, project};
pub use root_elements::is_root_element;
