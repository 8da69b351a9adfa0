//! What Endpoints are searched by (R4 endpoint.html#search).

use super::{Parameter, Searched, common};
use crate::search::{ResourceType, Value};
use crate::types::{Endpoint, Meta};
use EndpointParam as Param;

const STATUS: &str = "http://hl7.org/fhir/endpoint-status";

/// What Endpoints are searched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointParam {
    /// `_id`.
    Id,
    /// `_lastUpdated`.
    LastUpdated,
    /// `_profile`.
    Profile,
    /// `_security`.
    Security,
    /// `_source`.
    Source,
    /// `_tag`.
    Tag,
    /// `connection-type`.
    ConnectionType,
    /// `identifier`.
    Identifier,
    /// `name`.
    Name,
    /// `organization`.
    Organization,
    /// `payload-type`.
    PayloadType,
    /// `status`.
    Status,
}

impl Searched for Endpoint {
    type Param = EndpointParam;

    const TYPE: ResourceType = ResourceType::Endpoint;
    const COMMON: &'static [Parameter<Self>] = &common::of([
        Param::Id,
        Param::LastUpdated,
        Param::Profile,
        Param::Security,
        Param::Source,
        Param::Tag,
    ]);
    const ID_NOTE: &'static str = "The archive's id.";
    const LAST_UPDATED_NOTE: &'static str =
        "When this server first saw the present configuration of the archive.";
    const OWN: &'static [Parameter<Self>] = &[
        Parameter::<Self>::token(
            Param::ConnectionType,
            "connection-type",
            "http://hl7.org/fhir/SearchParameter/Endpoint-connection-type",
            "What is spoken at the address.",
            |endpoint, each| each(Value::coding(&endpoint.connection_type)),
        ),
        Parameter::<Self>::token(
            Param::Identifier,
            "identifier",
            "http://hl7.org/fhir/SearchParameter/Endpoint-identifier",
            "No Endpoint here has identifiers.",
            |_, _| {},
        )
        .identifying(),
        Parameter::<Self>::string(
            Param::Name,
            "name",
            "http://hl7.org/fhir/SearchParameter/Endpoint-name",
            "The beginning of the archive's name.",
            |endpoint, each| endpoint.name.iter().for_each(|name| each(Value::Text(name))),
        )
        .sorting(),
        Parameter::<Self>::reference(
            Param::Organization,
            "organization",
            "http://hl7.org/fhir/SearchParameter/Endpoint-organization",
            "No Endpoint here names an organization.",
            &["Organization"],
            |_, _| {},
        ),
        Parameter::<Self>::token(
            Param::PayloadType,
            "payload-type",
            "http://hl7.org/fhir/SearchParameter/Endpoint-payload-type",
            "What can be had at the address.",
            |endpoint, each| endpoint.payload_type.iter().for_each(|kind| Value::each_of_concept(kind, each)),
        ),
        Parameter::<Self>::token(
            Param::Status,
            "status",
            "http://hl7.org/fhir/SearchParameter/Endpoint-status",
            "Every Endpoint that is configured is active.",
            |endpoint, each| each(Value::code(STATUS, &endpoint.status)),
        ),
    ];

    fn id(&self) -> &str {
        &self.id
    }

    fn meta(&self) -> Option<&Meta> {
        Some(&self.meta)
    }
}
