//! The search parameters of Patient (R4 patient#search).

use super::{Parameter, Searchable, common};
use crate::search::{ResourceType, Value};
use crate::types::{HumanName, Meta, Patient};
use PatientParam as Param;

const GENDER: &str = "http://hl7.org/fhir/administrative-gender";

/// The documentation of parameters whose elements DICOM images do not carry.
const NEVER_PRESENT_NOTE: &str =
    "Never present: DICOM images do not carry this element. Searching by it finds nothing.";

/// The documentation of parameters for parts of a name.
const NAME_PART_NOTE: &str = "The start of any word of the name, in any of its representations. Archives are scanned, within search.max_scan.";

/// The search parameters of Patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PatientParam {
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
    /// `active`.
    Active,
    /// `address`.
    Address,
    /// `address-city`.
    AddressCity,
    /// `address-country`.
    AddressCountry,
    /// `address-postalcode`.
    AddressPostalcode,
    /// `address-state`.
    AddressState,
    /// `address-use`.
    AddressUse,
    /// `birthdate`.
    BirthDate,
    /// `death-date`.
    DeathDate,
    /// `deceased`.
    Deceased,
    /// `email`.
    Email,
    /// `family`.
    Family,
    /// `gender`.
    Gender,
    /// `general-practitioner`.
    GeneralPractitioner,
    /// `given`.
    Given,
    /// `identifier`.
    Identifier,
    /// `language`.
    Language,
    /// `link`.
    Link,
    /// `name`.
    Name,
    /// `organization`.
    Organization,
    /// `phone`.
    Phone,
    /// `phonetic`.
    Phonetic,
    /// `telecom`.
    Telecom,
}

impl Searchable for Patient {
    type Param = PatientParam;

    const TYPE: ResourceType = ResourceType::Patient;
    const COMMON_PARAMETERS: &'static [Parameter<Self>] = &common::parameters([
        Param::Id,
        Param::LastUpdated,
        Param::Profile,
        Param::Security,
        Param::Source,
        Param::Tag,
    ]);
    const ID_NOTE: &'static str = "The id that this server assigns to a patient.";
    const LAST_UPDATED_NOTE: &'static str = "Never present in a search: archives describe patients only in their studies. Only `:missing` matches. A read of a Patient has the time at which a study of the patient was last seen to change.";
    const TYPE_PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::<Self>::token(Param::Active, "active", "http://hl7.org/fhir/SearchParameter/Patient-active", NEVER_PRESENT_NOTE, |_, _| {}),
        Parameter::<Self>::string(Param::Address, "address", "http://hl7.org/fhir/SearchParameter/individual-address", NEVER_PRESENT_NOTE, |_, _| {}),
        Parameter::<Self>::string(
            Param::AddressCity, "address-city",
            "http://hl7.org/fhir/SearchParameter/individual-address-city",
            NEVER_PRESENT_NOTE,
            |_, _| {},
        ),
        Parameter::<Self>::string(
            Param::AddressCountry, "address-country",
            "http://hl7.org/fhir/SearchParameter/individual-address-country",
            NEVER_PRESENT_NOTE,
            |_, _| {},
        ),
        Parameter::<Self>::string(
            Param::AddressPostalcode, "address-postalcode",
            "http://hl7.org/fhir/SearchParameter/individual-address-postalcode",
            NEVER_PRESENT_NOTE,
            |_, _| {},
        ),
        Parameter::<Self>::string(
            Param::AddressState, "address-state",
            "http://hl7.org/fhir/SearchParameter/individual-address-state",
            NEVER_PRESENT_NOTE,
            |_, _| {},
        ),
        Parameter::<Self>::token(
            Param::AddressUse, "address-use",
            "http://hl7.org/fhir/SearchParameter/individual-address-use",
            NEVER_PRESENT_NOTE,
            |_, _| {},
        ),
        Parameter::<Self>::date(
            Param::BirthDate, "birthdate",
            "http://hl7.org/fhir/SearchParameter/individual-birthdate",
            "All prefixes and precisions are supported. Archives are scanned, within search.max_scan.",
            |patient, each| patient.birth_date.iter().for_each(|day| each(Value::Date(day))),
        )
        .sortable(),
        Parameter::<Self>::date(Param::DeathDate, "death-date", "http://hl7.org/fhir/SearchParameter/Patient-death-date", NEVER_PRESENT_NOTE, |_, _| {}),
        Parameter::<Self>::token(
            Param::Deceased, "deceased",
            "http://hl7.org/fhir/SearchParameter/Patient-deceased",
            "Never present: DICOM images do not carry this element. So `false` matches every Patient.",
            |_, each| each(Value::without_system("false")),
        ),
        Parameter::<Self>::token(Param::Email, "email", "http://hl7.org/fhir/SearchParameter/individual-email", NEVER_PRESENT_NOTE, |_, _| {}),
        Parameter::<Self>::string(
            Param::Family, "family",
            "http://hl7.org/fhir/SearchParameter/individual-family",
            NAME_PART_NOTE,
            |patient, each| patient.name.iter().flat_map(|name| &name.family).for_each(|part| each(Value::NamePart(part))),
        )
        .sortable(),
        Parameter::<Self>::token(
            Param::Gender, "gender",
            "http://hl7.org/fhir/SearchParameter/individual-gender",
            "Archives are scanned, within search.max_scan.",
            |patient, each| patient.gender.iter().for_each(|gender| each(Value::code(GENDER, gender))),
        ),
        Parameter::<Self>::reference(
            Param::GeneralPractitioner, "general-practitioner",
            "http://hl7.org/fhir/SearchParameter/Patient-general-practitioner",
            NEVER_PRESENT_NOTE,
            &["Practitioner", "Organization", "PractitionerRole"],
            |_, _| {},
        ),
        Parameter::<Self>::string(
            Param::Given, "given",
            "http://hl7.org/fhir/SearchParameter/individual-given",
            NAME_PART_NOTE,
            |patient, each| patient.name.iter().flat_map(|name| &name.given).for_each(|part| each(Value::NamePart(part))),
        ),
        Parameter::<Self>::token(
            Param::Identifier, "identifier",
            "http://hl7.org/fhir/SearchParameter/Patient-identifier",
            "The patient's primary identifier (PatientID), with or without its system. Archives cannot be queried for other identifiers.",
            // The first identifier is the primary one.
            |patient, each| patient.identifier.iter().take(1).for_each(|identifier| each(Value::identifier(identifier))),
        )
        .with_identifiers(),
        Parameter::<Self>::token(Param::Language, "language", "http://hl7.org/fhir/SearchParameter/Patient-language", NEVER_PRESENT_NOTE, |_, _| {}),
        Parameter::<Self>::reference(
            Param::Link, "link",
            "http://hl7.org/fhir/SearchParameter/Patient-link",
            NEVER_PRESENT_NOTE,
            &["Patient", "RelatedPerson"],
            |_, _| {},
        ),
        Parameter::<Self>::string(Param::Name, "name", "http://hl7.org/fhir/SearchParameter/Patient-name", NAME_PART_NOTE, |patient, each| {
            patient.name.iter().for_each(|name| for_each_part(name, each));
        }),
        Parameter::<Self>::reference(
            Param::Organization, "organization",
            "http://hl7.org/fhir/SearchParameter/Patient-organization",
            NEVER_PRESENT_NOTE,
            &["Organization"],
            |_, _| {},
        ),
        Parameter::<Self>::token(Param::Phone, "phone", "http://hl7.org/fhir/SearchParameter/individual-phone", NEVER_PRESENT_NOTE, |_, _| {}),
        Parameter::<Self>::string(
            Param::Phonetic, "phonetic",
            "http://hl7.org/fhir/SearchParameter/individual-phonetic",
            "A word of the name in Latin letters that sounds similar, by American Soundex. Archives are scanned, within \
             search.max_scan.",
            |patient, each| patient.name.iter().for_each(|name| for_each_part(name, each)),
        )
        .phonetic(),
        Parameter::<Self>::token(Param::Telecom, "telecom", "http://hl7.org/fhir/SearchParameter/individual-telecom", NEVER_PRESENT_NOTE, |_, _| {}),
    ];

    fn id(&self) -> &str {
        &self.id
    }

    fn meta(&self) -> Option<&Meta> {
        Some(&self.meta)
    }
}

/// Passes each searched part of a name to `each` (R4 patient#search: family, given, prefix, suffix, text).
fn for_each_part<'a>(name: &'a HumanName, each: &mut dyn FnMut(Value<'a>)) {
    let lists = [&name.given, &name.prefix, &name.suffix];
    let parts = lists.into_iter().flatten().chain(&name.family).chain(&name.text);
    parts.for_each(|part| each(Value::NamePart(part)));
}
