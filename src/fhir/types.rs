//! The resources that are emitted, R4 (4.0.1) to the letter, for writing only. Elements stand in the order of the
//! specification; what is empty is left out, as FHIR knows no empty string, array or object (R4 json.html).

mod capability_statement;
mod datatypes;
mod endpoint;
mod imaging_study;
mod operation_outcome;
mod patient;
mod projection;

pub use capability_statement::{
    CapabilityStatement, Implementation, Interaction, Operation, Resource, Rest, SearchParam, Security,
    Software,
};
pub use datatypes::{
    CodeableConcept, Coding, Extension, HumanName, Identifier, Meta, NameUse, PrimitiveElement, Reference,
    clean,
};
pub use endpoint::Endpoint;
pub use imaging_study::{ImagingStudy, Instance, Performer, Series, SopClass};
pub use operation_outcome::{OperationOutcome, OutcomeIssue};
pub use patient::Patient;
pub use projection::{Projection, project};
