//! R4 endpoint.html.

use std::borrow::Cow;

use super::element::resource;
use super::{CodeableConcept, Coding, ContactPoint, Identifier, Period, Reference};

resource! {
    /// An Endpoint: where something can be retrieved.
    pub struct Endpoint = "Endpoint" {
        /// What others call it.
        identifier: Vec<Identifier> = "identifier",
        /// active.
        status: Cow<'static, str> = "status" + "_status",
        /// What is spoken there.
        connection_type: Coding = "connectionType",
        /// The archive's name.
        name: Option<String> = "name" + "_name",
        /// Who runs it.
        managing_organization: Option<Reference> = "managingOrganization",
        /// Whom to ask about it.
        contact: Vec<ContactPoint> = "contact",
        /// When it is there.
        period: Option<Period> = "period",
        /// What can be had there; at least one.
        payload_type: Vec<CodeableConcept> = "payloadType",
        /// In which format.
        payload_mime_type: Vec<Cow<'static, str>> = "payloadMimeType" + "_payloadMimeType",
        /// The root of the service, without a slash at its end.
        address: String = "address" + "_address",
        /// What is to be sent along. Never a secret.
        header: Vec<String> = "header" + "_header",
    }
}
