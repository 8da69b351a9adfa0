//! Data types (R4 datatypes.html, references.html, extensibility.html).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// `text` as a FHIR string: without control characters and without blanks at its ends; `None` when nothing remains.
pub fn clean(text: &str) -> Option<String> {
    let text = text.trim();
    if text.chars().all(is_kept) {
        return (!text.is_empty()).then(|| text.to_owned());
    }
    clean(&text.chars().filter(|character| is_kept(*character)).collect::<String>())
}

/// Control characters are illegal in a FHIR string; U+FFFE and U+FFFF are, too, where it is written as XML.
fn is_kept(character: char) -> bool {
    let illegal = character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}');
    !illegal || matches!(character, '\n' | '\r' | '\t')
}

/// R4 extension data-absent-reason.
pub(super) const DATA_ABSENT_REASON: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// R4 datatypes#Coding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Coding {
    /// Why there is no code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extension: Vec<Extension>,
    /// Identity of the terminology.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Cow<'static, str>>,
    /// The code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    /// The code's meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<Cow<'static, str>>,
}

impl Coding {
    /// A code of a terminology.
    pub fn new(
        system: impl Into<Cow<'static, str>>,
        code: impl Into<Cow<'static, str>>,
        display: Option<Cow<'static, str>>,
    ) -> Self {
        Self { extension: Vec::new(), system: Some(system.into()), code: Some(code.into()), display }
    }

    /// Words where there is no code.
    pub fn words(display: impl Into<Cow<'static, str>>) -> Self {
        Self { display: Some(display.into()), ..Self::default() }
    }

    /// That there should be a code, and nobody knows which.
    pub fn unknown() -> Self {
        Self { extension: vec![Extension::code(DATA_ABSENT_REASON, "unknown")], ..Self::default() }
    }
}

/// R4 datatypes#CodeableConcept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct CodeableConcept {
    /// Codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coding: Vec<Coding>,
    /// Words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'static, str>>,
}

/// R4 datatypes#Identifier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Identifier {
    /// usual, official, secondary.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Cow<'static, str>>,
    /// What kind it is.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CodeableConcept>,
    /// Who makes it unique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The identifier itself.
    pub value: String,
    /// Who gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigner: Option<Box<Reference>>,
}

/// R4 references.html.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reference {
    /// Relative, so that it holds under every address of this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The target's type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Cow<'static, str>>,
    /// The target by what others call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Identifier>,
    /// The target in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

impl Reference {
    /// A target that is known in words only.
    pub fn words(display: String) -> Self {
        Self { display: Some(display), ..Self::default() }
    }
}

/// R4 resource.html#Meta.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Which version of the content it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// When the content was first seen, an instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<String>,
    /// Where the resource comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Profiles that the resource conforms to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<Cow<'static, str>>,
    /// Security labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security: Vec<Coding>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag: Vec<Coding>,
}

/// R4 extensibility.html, with the values that are used here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Extension {
    /// What it means.
    pub url: Cow<'static, str>,
    /// A code.
    #[serde(rename = "valueCode", default, skip_serializing_if = "Option::is_none")]
    pub value_code: Option<Cow<'static, str>>,
    /// A truth value.
    #[serde(rename = "valueBoolean", default, skip_serializing_if = "Option::is_none")]
    pub value_boolean: Option<bool>,
}

impl Extension {
    /// With a code.
    pub fn code(url: &'static str, code: &'static str) -> Self {
        Self { url: url.into(), value_code: Some(code.into()), value_boolean: None }
    }

    /// With a truth value.
    pub fn boolean(url: &'static str, value: bool) -> Self {
        Self { url: url.into(), value_code: None, value_boolean: Some(value) }
    }
}

/// What stands beside a primitive value under its name with an underscore (R4 json#primitive).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct PrimitiveElement {
    /// At least one.
    pub extension: Vec<Extension>,
}

/// R4 valueset-name-use, as far as it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameUse {
    /// The name that is used.
    Usual,
}

/// R4 datatypes#HumanName.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct HumanName {
    /// In which writing it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extension: Vec<Extension>,
    /// How it is used.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<NameUse>,
    /// The whole of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Given and middle names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<String>,
    /// Before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefix: Vec<String>,
    /// Behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suffix: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fhir_string_holds_something_and_no_control_characters() {
        assert_eq!(clean("  CT \0head\u{7} ").as_deref(), Some("CT head"));
        assert_eq!(clean(" \0 \t"), None);
        assert_eq!(clean("a\r\nb").as_deref(), Some("a\r\nb"));
    }
}
