//! Endpoint (R4 endpoint.html).

use std::borrow::Cow;

use super::element::resource;
use super::{CodeableConcept, Coding, ContactPoint, Identifier, Period, Reference};

resource! {
    /// An Endpoint: the URL of a service.
    pub struct Endpoint = "Endpoint" {
        /// Business identifiers.
        identifier: Vec<Identifier> = "identifier",
        /// The status, `active`.
        status: Cow<'static, str> = "status" + "_status",
        /// Protocol of the service.
        connection_type: Coding = "connectionType",
        /// The archive's name.
        name: Option<String> = "name" + "_name",
        /// Organization that runs the service.
        managing_organization: Option<Reference> = "managingOrganization",
        /// Contacts for the service.
        contact: Vec<ContactPoint> = "contact",
        /// Period in which the service is available.
        period: Option<Period> = "period",
        /// Types of content of the service; at least one.
        payload_type: Vec<CodeableConcept> = "payloadType",
        /// Media types of the content.
        payload_mime_type: Vec<Cow<'static, str>> = "payloadMimeType" + "_payloadMimeType",
        /// Root URL of the service, without a trailing slash.
        address: String = "address" + "_address",
        /// Header fields to send. Never contains secrets.
        header: Vec<String> = "header" + "_header",
    }
}
