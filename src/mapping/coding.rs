//! Maps coded entries (PS3.3 table 8.8-1) to FHIR codes.

use std::borrow::Cow;

use super::terminology::{snomed, snomed_rt};
use dicom_model::{Attributes, Uid, tags};
use fhir_r4::types::{CodeableConcept, Coding, Identifier, to_fhir_string};

pub(super) const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
pub(super) const SNOMED_CT: &str = "http://snomed.info/sct";

/// Returns the URI of a coding scheme (PS3.16 table 8-1).
///
/// SRT, SNM3 and 99SDM have no URI, because their codes (`T-D3000`) are not SNOMED CT ids.
fn system_uri(designator: &str, scheme_uid: Option<&str>) -> Option<String> {
    let known = match designator {
        "DCM" => DCM,
        "SCT" => SNOMED_CT,
        "LN" => "http://loinc.org",
        "RADLEX" | "RPID" => "http://www.radlex.org",
        "UCUM" => "http://unitsofmeasure.org",
        "I10" => "http://hl7.org/fhir/sid/icd-10",
        "I9C" => "http://hl7.org/fhir/sid/icd-9-cm",
        "I10P" => "http://www.cms.gov/Medicare/Coding/ICD10",
        "C4" | "CPT4" => "http://www.ama-assn.org/go/cpt",
        "UMLS" => "http://www.nlm.nih.gov/research/umls",
        "SRT" | "SNM3" | "99SDM" => return None,
        // For any other designator, the UID identifies the scheme.
        _ => match scheme_uid {
            Some("1.2.840.10008.2.16.4") => DCM,
            Some("2.16.840.1.113883.6.96") => SNOMED_CT,
            Some("2.16.840.1.113883.6.1") => "http://loinc.org",
            _ => return scheme_uid.filter(|uid| Uid::is_legal(uid)).map(|uid| format!("urn:oid:{uid}")),
        },
    };
    Some(known.to_owned())
}

/// Maps an item of a code sequence: its code if the scheme is known, and always its meaning as text. `None` if the item is
/// empty.
pub(super) fn concept(item: &Attributes) -> Option<CodeableConcept> {
    let meaning = item.text(tags::CODE_MEANING).and_then(to_fhir_string).map(Cow::Owned);
    let coding = coding(item, meaning.clone());
    // A code of a private scheme cannot be looked up, so it is used as text only.
    let text = meaning.or_else(|| match &coding {
        Some(_) => None,
        None => code_value(item).map(Cow::Owned),
    });
    (coding.is_some() || text.is_some())
        .then(|| CodeableConcept { text, ..CodeableConcept::from_codings(coding.into_iter().collect()) })
}

/// Maps an item of a code sequence to one Coding, which has only the meaning if the code is not known.
pub(super) fn coding_or_meaning(item: &Attributes) -> Option<Coding> {
    let meaning = item.text(tags::CODE_MEANING).and_then(to_fhir_string).map(Cow::Owned);
    coding(item, meaning.clone()).or_else(|| meaning.map(Coding::from_display))
}

fn coding(item: &Attributes, display: Option<Cow<'static, str>>) -> Option<Coding> {
    let code = code_value(item)?;
    let designator = item.text(tags::CODING_SCHEME_DESIGNATOR)?;
    let system = system_uri(designator, item.text(tags::CODING_SCHEME_UID));
    let is_snomed = matches!(designator, "SRT" | "SNM3" | "99SDM") || system.as_deref() == Some(SNOMED_CT);
    if is_snomed {
        // Some implementations write retired ids under the new designator, or new ids under the old one.
        let code = match snomed_rt::snomed_ct(&code) {
            Some(code) => Cow::Borrowed(code),
            None => Cow::Owned(code),
        };
        return snomed::is_concept_id(&code).then(|| Coding::new(SNOMED_CT, code, display));
    }
    system.filter(|_| is_code(&code)).map(|system| Coding::new(system, code, display))
}

/// Whether `text` is a code (R4 datatypes#code): it has no leading, trailing or repeated spaces.
fn is_code(text: &str) -> bool {
    text.split(' ').all(|word| !word.is_empty() && !word.contains(char::is_whitespace))
}

/// Reads the code from CodeValue, LongCodeValue or URNCodeValue (PS3.3 8.1, 8.2).
fn code_value(item: &Attributes) -> Option<String> {
    [tags::CODE_VALUE, tags::LONG_CODE_VALUE, tags::URN_CODE_VALUE]
        .into_iter()
        .find_map(|tag| item.text(tag))
        .and_then(to_fhir_string)
}

/// Maps the code that identifies a person (PS3.3 table 10-1). The system is the coding scheme, if known.
pub(super) fn person_identifier(item: &Attributes) -> Option<Identifier> {
    let code = item.items(tags::PERSON_IDENTIFICATION_CODE_SEQUENCE).next()?;
    let value = code_value(code)?;
    let designator = code.text(tags::CODING_SCHEME_DESIGNATOR).unwrap_or_default();
    Some(Identifier {
        system: system_uri(designator, code.text(tags::CODING_SCHEME_UID)),
        value: Some(value),
        ..Identifier::default()
    })
}

/// Maps a modality (PS3.16 CID 29). A value that is not a code string becomes text.
pub(super) fn modality(text: &str) -> Option<Coding> {
    let code = to_fhir_string(text)?.to_ascii_uppercase();
    let is_code = code.len() <= 16
        && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    Some(if is_code { Coding::new(DCM, code, None) } else { Coding::from_display(code) })
}
