//! The search parameters of Endpoint (R4 endpoint#search).

use super::{Parameter, Searchable, common};
use crate::search::{ResourceType, Value};
use crate::types::{Endpoint, Meta};
use EndpointParam as Param;

const STATUS: &str = "http://hl7.org/fhir/endpoint-status";

/// The search parameters of Endpoint.
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

impl Searchable for Endpoint {
    type Param = EndpointParam;

    const TYPE: ResourceType = ResourceType::Endpoint;
    const COMMON_PARAMETERS: &'static [Parameter<Self>] = &common::parameters([
        Param::Id,
        Param::LastUpdated,
        Param::Profile,
        Param::Security,
        Param::Source,
        Param::Tag,
    ]);
    const ID_NOTE: &'static str = "The id of the archive.";
    const LAST_UPDATED_NOTE: &'static str =
        "When this server first saw the current configuration of the archive.";
    const TYPE_PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::<Self>::token(
            Param::ConnectionType,
            "connection-type",
            "http://hl7.org/fhir/SearchParameter/Endpoint-connection-type",
            "The protocol of the endpoint's address.",
            |endpoint, each| each(Value::coding(&endpoint.connection_type)),
        ),
        Parameter::<Self>::token(
            Param::Identifier,
            "identifier",
            "http://hl7.org/fhir/SearchParameter/Endpoint-identifier",
            "Never present: Endpoints here have no identifiers. Searching by it finds nothing.",
            |_, _| {},
        )
        .with_identifiers(),
        Parameter::<Self>::string(
            Param::Name,
            "name",
            "http://hl7.org/fhir/SearchParameter/Endpoint-name",
            "The start of the archive's name.",
            |endpoint, each| endpoint.name.iter().for_each(|name| each(Value::Text(name))),
        )
        .sortable(),
        Parameter::<Self>::reference(
            Param::Organization,
            "organization",
            "http://hl7.org/fhir/SearchParameter/Endpoint-organization",
            "Never present: Endpoints here name no organization. Searching by it finds nothing.",
            &["Organization"],
            |_, _| {},
        ),
        Parameter::<Self>::token(
            Param::PayloadType,
            "payload-type",
            "http://hl7.org/fhir/SearchParameter/Endpoint-payload-type",
            "What can be retrieved from the endpoint's address.",
            |endpoint, each| endpoint.payload_type.iter().for_each(|kind| Value::for_each_coding(kind, each)),
        ),
        Parameter::<Self>::token(
            Param::Status,
            "status",
            "http://hl7.org/fhir/SearchParameter/Endpoint-status",
            "The status: active, or error while searches at the archive fail.",
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
