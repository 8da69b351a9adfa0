//! What Endpoints are searched by (R4 endpoint.html#search).

use super::{Form, Parameter, ParameterType, RESOURCE_ID};
use crate::fhir::search::{StringMatch, Token, id};

/// A criterion of a search for Endpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum EndpointCriterion {
    /// `_id`.
    Id(Vec<String>),
    /// `name`.
    Name(Vec<StringMatch>),
    /// `status`.
    Status(Vec<Token>),
    /// `connection-type`.
    ConnectionType(Vec<Token>),
}

/// Endpoint (R4 endpoint.html#search).
pub static ENDPOINT_PARAMETERS: &[Parameter<EndpointCriterion>] = &[
    Parameter {
        name: "_id",
        kind: ParameterType::Token,
        definition: RESOURCE_ID,
        note: "The archive's id.",
        forms: &[form!("", EndpointCriterion::Id, id::parse_all)],
        include: None,
    },
    Parameter {
        name: "connection-type",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/Endpoint-connection-type",
        note: "Every Endpoint is a dicom-wado-rs one.",
        forms: &[form!("", EndpointCriterion::ConnectionType, Token::parse_all)],
        include: None,
    },
    Parameter {
        name: "name",
        kind: ParameterType::String,
        definition: "http://hl7.org/fhir/SearchParameter/Endpoint-name",
        note: "The beginning of the archive's name.",
        forms: &[form!("", EndpointCriterion::Name, StringMatch::parse_all)],
        include: None,
    },
    Parameter {
        name: "status",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/Endpoint-status",
        note: "Every Endpoint that is configured is active.",
        forms: &[form!("", EndpointCriterion::Status, Token::parse_all)],
        include: None,
    },
];
