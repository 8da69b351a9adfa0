//! The Patients that a criterion names: by the ids of their resources, or by their identifiers. This module does not depend on
//! the matching keys of archives.

use fhir_r4::search::{Comparison, Criterion, PatientParam as Param, Token};
use fhir_r4::types::Patient;

/// The Patients that can match a criterion.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NamedPatients<'a> {
    /// The Patients with these ids.
    Ids(Vec<&'a str>),
    /// The Patients with one of these identifiers, which are PatientIDs (0010,0020).
    Identifiers(Vec<&'a str>),
}

impl<'a> NamedPatients<'a> {
    /// Returns the Patients that the criterion names; `None` if it describes Patients without naming them.
    pub(super) fn from_criterion(criterion: &'a Criterion<Patient>) -> Option<Self> {
        match criterion.parameter.key {
            Param::Id => match &criterion.comparison {
                Comparison::Token(tokens) => Token::codes(tokens).map(Self::Ids),
                _ => None,
            },
            Param::Identifier => match &criterion.comparison {
                Comparison::Token(tokens) => Token::codes(tokens).map(Self::Identifiers),
                Comparison::OfType(identifiers) => {
                    let values = identifiers.iter().map(|identifier| identifier.value.as_str());
                    Some(Self::Identifiers(values.collect()))
                }
                _ => None,
            },
            Param::LastUpdated
            | Param::Profile
            | Param::Security
            | Param::Source
            | Param::Tag
            | Param::Active
            | Param::Address
            | Param::AddressCity
            | Param::AddressCountry
            | Param::AddressPostalcode
            | Param::AddressState
            | Param::AddressUse
            | Param::BirthDate
            | Param::DeathDate
            | Param::Deceased
            | Param::Email
            | Param::Family
            | Param::Gender
            | Param::GeneralPractitioner
            | Param::Given
            | Param::Language
            | Param::Link
            | Param::Name
            | Param::Organization
            | Param::Phone
            | Param::Phonetic
            | Param::Telecom => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir_r4::search::{Handling, ParseContext, Search};

    fn criterion(name: &str, value: &str) -> Criterion<Patient> {
        let context = ParseContext {
            base: "http://h/fhir",
            handling: Handling::Strict,
            default_count: 50,
            max_count: 200,
            is_uid: |_| false,
            is_other_uid: |_| false,
        };
        let pairs = [(name.to_owned(), value.to_owned())];
        Search::parse(&pairs, &context).unwrap().criteria.pop().unwrap()
    }

    #[test]
    fn ids_and_identifiers_name_patients() {
        for (name, value, expected) in [
            ("_id", "a,b", NamedPatients::Ids(vec!["a", "b"])),
            ("identifier", "s|P1,P2", NamedPatients::Identifiers(vec!["P1", "P2"])),
            ("identifier:of-type", "s|MR|P1", NamedPatients::Identifiers(vec!["P1"])),
        ] {
            assert_eq!(
                NamedPatients::from_criterion(&criterion(name, value)),
                Some(expected),
                "{name}={value}"
            );
        }
    }

    #[test]
    fn other_criteria_name_no_patients() {
        for (name, value) in
            [("_id:not", "a"), ("identifier", "s|"), ("identifier:missing", "false"), ("name", "Doe")]
        {
            assert_eq!(NamedPatients::from_criterion(&criterion(name, value)), None, "{name}={value}");
        }
    }
}
