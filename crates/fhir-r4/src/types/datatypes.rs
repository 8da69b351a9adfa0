//! Data types (R4 datatypes.html, references.html, resource#Meta, narrative.html). This module does not know about the resources
//! that use them.

use std::borrow::Cow;

use super::element::element;
use super::{Element, Extension};

/// Converts `text` to a FHIR string, without control characters and without leading or trailing whitespace; `None` if the result
/// is empty.
pub fn to_fhir_string(text: &str) -> Option<String> {
    let text = text.trim();
    if text.chars().all(is_allowed) {
        return (!text.is_empty()).then(|| text.to_owned());
    }
    to_fhir_string(&text.chars().filter(|character| is_allowed(*character)).collect::<String>())
}

/// Whether a character is valid in a FHIR string, which excludes control characters, and in XML, which excludes U+FFFE and U+FFFF.
fn is_allowed(character: char) -> bool {
    let is_invalid = character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}');
    !is_invalid || matches!(character, '\n' | '\r' | '\t')
}

element! {
    /// R4 datatypes#Coding.
    pub struct Coding {
        /// URI of the code system.
        system: Option<Cow<'static, str>> = "system" + "_system",
        /// Version of the code system.
        version: Option<String> = "version" + "_version",
        /// The code.
        code: Option<Cow<'static, str>> = "code" + "_code",
        /// Meaning of the code.
        display: Option<Cow<'static, str>> = "display" + "_display",
        /// Whether a user selected the coding.
        user_selected: Option<bool> = "userSelected" + "_userSelected",
    }
}

impl Coding {
    /// Creates a code of a code system.
    pub fn new(
        system: impl Into<Cow<'static, str>>,
        code: impl Into<Cow<'static, str>>,
        display: Option<Cow<'static, str>>,
    ) -> Self {
        Self { system: Some(system.into()), code: Some(code.into()), display, ..Self::default() }
    }

    /// Returns a coding with a display text and without a code.
    pub fn from_display(display: impl Into<Cow<'static, str>>) -> Self {
        Self { display: Some(display.into()), ..Self::default() }
    }

    /// Returns the tag of a resource that lacks some of its content (R4 resource#simple-tags).
    pub fn subsetted() -> Self {
        Self::new("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "SUBSETTED", None)
    }

    /// Returns a coding whose code is unknown (extension data-absent-reason).
    pub fn unknown() -> Self {
        Self { element: Element::with(vec![Extension::unknown()]), ..Self::default() }
    }
}

element! {
    /// R4 datatypes#CodeableConcept.
    pub struct CodeableConcept {
        /// The codings.
        coding: Vec<Coding> = "coding",
        /// Text of the concept.
        text: Option<Cow<'static, str>> = "text" + "_text",
    }
}

impl CodeableConcept {
    /// Returns a concept with codings and without text.
    pub fn from_codings(coding: Vec<Coding>) -> Self {
        Self { coding, ..Self::default() }
    }
}

element! {
    /// R4 datatypes#Identifier.
    pub struct Identifier {
        /// `usual`, `official` or `secondary`.
        usage: Option<Cow<'static, str>> = "use" + "_use",
        /// Type of the identifier.
        kind: Option<CodeableConcept> = "type",
        /// Namespace of the value.
        system: Option<String> = "system" + "_system",
        /// Value of the identifier.
        value: Option<String> = "value" + "_value",
        /// Period in which it is valid.
        period: Option<Period> = "period",
        /// Organization that assigned it.
        assigner: Option<Box<Reference>> = "assigner",
    }
}

element! {
    /// R4 references.html.
    pub struct Reference {
        /// Relative URL, valid at every base URL of this server.
        reference: Option<String> = "reference" + "_reference",
        /// Type of the target.
        kind: Option<Cow<'static, str>> = "type" + "_type",
        /// Business identifier of the target.
        identifier: Option<Identifier> = "identifier",
        /// Text for the target.
        display: Option<String> = "display" + "_display",
    }
}

impl Reference {
    /// Returns a reference with only a display text.
    pub fn from_display(display: String) -> Self {
        Self { display: Some(display), ..Self::default() }
    }
}

element! {
    /// R4 resource#Meta.
    pub struct Meta {
        /// Version of the content.
        version_id: Option<String> = "versionId" + "_versionId",
        /// Instant at which the server first saw the content.
        last_updated: Option<String> = "lastUpdated" + "_lastUpdated",
        /// URI of the source of the resource.
        source: Option<String> = "source" + "_source",
        /// Profiles that the resource conforms to.
        profile: Vec<Cow<'static, str>> = "profile" + "_profile",
        /// Security labels.
        security: Vec<Coding> = "security",
        /// Tags.
        tag: Vec<Coding> = "tag",
    }
}

element! {
    /// R4 narrative.html.
    pub struct Narrative {
        /// `generated`, `extensions`, `additional` or `empty`.
        status: Cow<'static, str> = "status" + "_status",
        /// The narrative as XHTML.
        div: String = "div",
    }
}

element! {
    /// R4 datatypes#Period.
    pub struct Period {
        /// Start.
        start: Option<String> = "start" + "_start",
        /// End.
        end: Option<String> = "end" + "_end",
    }
}

element! {
    /// R4 datatypes#HumanName.
    pub struct HumanName {
        /// Use of the name.
        usage: Option<Cow<'static, str>> = "use" + "_use",
        /// The complete name.
        text: Option<String> = "text" + "_text",
        /// Family name.
        family: Option<String> = "family" + "_family",
        /// Given and middle names.
        given: Vec<String> = "given" + "_given",
        /// Prefixes, such as titles.
        prefix: Vec<String> = "prefix" + "_prefix",
        /// Suffixes.
        suffix: Vec<String> = "suffix" + "_suffix",
        /// Period in which it was used.
        period: Option<Period> = "period",
    }
}

element! {
    /// R4 datatypes#Address.
    pub struct Address {
        /// `home`, `work`, `temp`, `old` or `billing`.
        usage: Option<String> = "use" + "_use",
        /// `postal`, `physical` or `both`.
        kind: Option<String> = "type" + "_type",
        /// The complete address.
        text: Option<String> = "text" + "_text",
        /// Street and number.
        line: Vec<String> = "line" + "_line",
        /// City.
        city: Option<String> = "city" + "_city",
        /// County.
        district: Option<String> = "district" + "_district",
        /// State.
        state: Option<String> = "state" + "_state",
        /// Postal code.
        postal_code: Option<String> = "postalCode" + "_postalCode",
        /// Country.
        country: Option<String> = "country" + "_country",
        /// Period in which it was used.
        period: Option<Period> = "period",
    }
}

element! {
    /// R4 datatypes#ContactPoint.
    pub struct ContactPoint {
        /// `phone`, `email` or others.
        system: Option<String> = "system" + "_system",
        /// The phone number or address.
        value: Option<String> = "value" + "_value",
        /// `home`, `work`, `temp`, `old` or `mobile`.
        usage: Option<String> = "use" + "_use",
        /// Order of preference.
        rank: Option<u32> = "rank" + "_rank",
        /// Period in which it was used.
        period: Option<Period> = "period",
    }
}

element! {
    /// R4 datatypes#Attachment.
    pub struct Attachment {
        /// Media type.
        content_type: Option<String> = "contentType" + "_contentType",
        /// Language of the content.
        language: Option<String> = "language" + "_language",
        /// The content in base64.
        data: Option<String> = "data" + "_data",
        /// URL of the content.
        url: Option<String> = "url" + "_url",
        /// Size of the content in bytes.
        size: Option<u32> = "size" + "_size",
        /// SHA-1 of the content in base64.
        hash: Option<String> = "hash" + "_hash",
        /// Title.
        title: Option<String> = "title" + "_title",
        /// Date of creation.
        creation: Option<String> = "creation" + "_creation",
    }
}

element! {
    /// R4 datatypes#Annotation.
    pub struct Annotation {
        /// Reference to the author.
        author_reference: Option<Reference> = "authorReference",
        /// Name of the author.
        author_string: Option<String> = "authorString" + "_authorString",
        /// Date of the annotation.
        time: Option<String> = "time" + "_time",
        /// The text in Markdown.
        text: String = "text" + "_text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fhir_string_is_not_empty_and_has_no_control_characters() {
        assert_eq!(to_fhir_string("  CT \0head\u{7} ").as_deref(), Some("CT head"));
        assert_eq!(to_fhir_string(" \0 \t"), None);
        assert_eq!(to_fhir_string("a\r\nb").as_deref(), Some("a\r\nb"));
    }
}
