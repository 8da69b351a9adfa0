//! Patient (R4 patient.html).

use std::borrow::Cow;

use super::element::{element, resource};
use super::{Address, Attachment, CodeableConcept, ContactPoint, HumanName, Identifier, Period, Reference};

resource! {
    /// A Patient.
    pub struct Patient = "Patient" {
        /// Identifiers; the first is the Patient ID.
        identifier: Vec<Identifier> = "identifier",
        /// Whether the record is active.
        active: Option<bool> = "active" + "_active",
        /// Names, one per representation (alphabetic, ideographic, phonetic).
        name: Vec<HumanName> = "name",
        /// Contact details.
        telecom: Vec<ContactPoint> = "telecom",
        /// `male`, `female`, `other` or `unknown`.
        gender: Option<Cow<'static, str>> = "gender" + "_gender",
        /// Birth date.
        birth_date: Option<String> = "birthDate" + "_birthDate",
        /// Whether the patient has died.
        deceased_boolean: Option<bool> = "deceasedBoolean" + "_deceasedBoolean",
        /// Date of death.
        deceased_date_time: Option<String> = "deceasedDateTime" + "_deceasedDateTime",
        /// Addresses.
        address: Vec<Address> = "address",
        /// Marital status.
        marital_status: Option<CodeableConcept> = "maritalStatus",
        /// Whether the patient is part of a multiple birth.
        multiple_birth_boolean: Option<bool> = "multipleBirthBoolean" + "_multipleBirthBoolean",
        /// Birth order in a multiple birth.
        multiple_birth_integer: Option<i32> = "multipleBirthInteger" + "_multipleBirthInteger",
        /// Photos.
        photo: Vec<Attachment> = "photo",
        /// Contact persons.
        contact: Vec<PatientContact> = "contact",
        /// Languages.
        communication: Vec<PatientCommunication> = "communication",
        /// Primary care providers.
        general_practitioner: Vec<Reference> = "generalPractitioner",
        /// Organization that manages the record.
        managing_organization: Option<Reference> = "managingOrganization",
        /// Other records of the same person.
        link: Vec<PatientLink> = "link",
    }
}

element! {
    /// Patient.contact.
    pub struct PatientContact {
        /// Relationship to the patient.
        relationship: Vec<CodeableConcept> = "relationship",
        /// Name.
        name: Option<HumanName> = "name",
        /// Contact details.
        telecom: Vec<ContactPoint> = "telecom",
        /// Address.
        address: Option<Address> = "address",
        /// `male`, `female`, `other` or `unknown`.
        gender: Option<String> = "gender" + "_gender",
        /// Organization of the contact.
        organization: Option<Reference> = "organization",
        /// Period in which the contact is valid.
        period: Option<Period> = "period",
    }
}

element! {
    /// Patient.communication.
    pub struct PatientCommunication {
        /// The language.
        language: CodeableConcept = "language",
        /// Whether the language is preferred.
        preferred: Option<bool> = "preferred" + "_preferred",
    }
}

element! {
    /// Patient.link.
    pub struct PatientLink {
        /// The other record.
        other: Reference = "other",
        /// `replaced-by`, `replaces`, `refer` or `seealso`.
        kind: Cow<'static, str> = "type" + "_type",
    }
}
