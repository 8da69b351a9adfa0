//! R4 patient.html.

use std::borrow::Cow;

use super::element::{element, resource};
use super::{Address, Attachment, CodeableConcept, ContactPoint, HumanName, Identifier, Period, Reference};

resource! {
    /// A Patient.
    pub struct Patient = "Patient" {
        /// PatientID first.
        identifier: Vec<Identifier> = "identifier",
        /// Whether the record is in use.
        active: Option<bool> = "active" + "_active",
        /// One for each writing.
        name: Vec<HumanName> = "name",
        /// Numbers and addresses.
        telecom: Vec<ContactPoint> = "telecom",
        /// male, female, other, unknown.
        gender: Option<Cow<'static, str>> = "gender" + "_gender",
        /// A day.
        birth_date: Option<String> = "birthDate" + "_birthDate",
        /// Whether they have died.
        deceased_boolean: Option<bool> = "deceasedBoolean" + "_deceasedBoolean",
        /// When they died.
        deceased_date_time: Option<String> = "deceasedDateTime" + "_deceasedDateTime",
        /// Where they live.
        address: Vec<Address> = "address",
        /// Civil status.
        marital_status: Option<CodeableConcept> = "maritalStatus",
        /// Whether they are one of several.
        multiple_birth_boolean: Option<bool> = "multipleBirthBoolean" + "_multipleBirthBoolean",
        /// Which of several they are.
        multiple_birth_integer: Option<i32> = "multipleBirthInteger" + "_multipleBirthInteger",
        /// Images of them.
        photo: Vec<Attachment> = "photo",
        /// Whom to call.
        contact: Vec<PatientContact> = "contact",
        /// What they speak.
        communication: Vec<PatientCommunication> = "communication",
        /// Who treats them.
        general_practitioner: Vec<Reference> = "generalPractitioner",
        /// Who keeps the record.
        managing_organization: Option<Reference> = "managingOrganization",
        /// Other records of the same person.
        link: Vec<PatientLink> = "link",
    }
}

element! {
    /// Patient.contact.
    pub struct PatientContact {
        /// What they are to the patient.
        relationship: Vec<CodeableConcept> = "relationship",
        /// Their name.
        name: Option<HumanName> = "name",
        /// Their numbers.
        telecom: Vec<ContactPoint> = "telecom",
        /// Where they live.
        address: Option<Address> = "address",
        /// male, female, other, unknown.
        gender: Option<String> = "gender" + "_gender",
        /// For whom they work.
        organization: Option<Reference> = "organization",
        /// When they can be called.
        period: Option<Period> = "period",
    }
}

element! {
    /// Patient.communication.
    pub struct PatientCommunication {
        /// Which language.
        language: CodeableConcept = "language",
        /// Whether they like it best.
        preferred: Option<bool> = "preferred" + "_preferred",
    }
}

element! {
    /// Patient.link.
    pub struct PatientLink {
        /// The other record.
        other: Reference = "other",
        /// replaced-by, replaces, refer, seealso.
        kind: Cow<'static, str> = "type" + "_type",
    }
}
