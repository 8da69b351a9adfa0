//! Data types (R4 datatypes.html, references.html, resource.html#Meta, narrative.html).

use std::borrow::Cow;

use super::element::element;
use super::{Element, Extension};

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

element! {
    /// R4 datatypes#Coding.
    pub struct Coding {
        /// Identity of the terminology.
        system: Option<Cow<'static, str>> = "system" + "_system",
        /// Which version of it.
        version: Option<String> = "version" + "_version",
        /// The code.
        code: Option<Cow<'static, str>> = "code" + "_code",
        /// The code's meaning.
        display: Option<Cow<'static, str>> = "display" + "_display",
        /// Whether somebody chose it.
        user_selected: Option<bool> = "userSelected" + "_userSelected",
    }
}

impl Coding {
    /// A code of a terminology.
    pub fn new(
        system: impl Into<Cow<'static, str>>,
        code: impl Into<Cow<'static, str>>,
        display: Option<Cow<'static, str>>,
    ) -> Self {
        Self { system: Some(system.into()), code: Some(code.into()), display, ..Self::default() }
    }

    /// Words where there is no code.
    pub fn words(display: impl Into<Cow<'static, str>>) -> Self {
        Self { display: Some(display.into()), ..Self::default() }
    }

    /// That there should be a code, and nobody knows which.
    pub fn unknown() -> Self {
        Self { element: Element::with(vec![Extension::unknown()]), ..Self::default() }
    }
}

element! {
    /// R4 datatypes#CodeableConcept.
    pub struct CodeableConcept {
        /// Codes.
        coding: Vec<Coding> = "coding",
        /// Words.
        text: Option<Cow<'static, str>> = "text" + "_text",
    }
}

impl CodeableConcept {
    /// Codes without words of their own.
    pub fn of(coding: Vec<Coding>) -> Self {
        Self { coding, ..Self::default() }
    }
}

element! {
    /// R4 datatypes#Identifier.
    pub struct Identifier {
        /// usual, official, secondary.
        usage: Option<Cow<'static, str>> = "use" + "_use",
        /// What kind it is.
        kind: Option<CodeableConcept> = "type",
        /// Who makes it unique.
        system: Option<String> = "system" + "_system",
        /// The identifier itself.
        value: Option<String> = "value" + "_value",
        /// When it is valid.
        period: Option<Period> = "period",
        /// Who gave it.
        assigner: Option<Box<Reference>> = "assigner",
    }
}

element! {
    /// R4 references.html.
    pub struct Reference {
        /// Relative, so that it holds under every address of this server.
        reference: Option<String> = "reference" + "_reference",
        /// The target's type.
        kind: Option<Cow<'static, str>> = "type" + "_type",
        /// The target by what others call it.
        identifier: Option<Identifier> = "identifier",
        /// The target in words.
        display: Option<String> = "display" + "_display",
    }
}

impl Reference {
    /// A target that is known in words only.
    pub fn words(display: String) -> Self {
        Self { display: Some(display), ..Self::default() }
    }
}

element! {
    /// R4 resource.html#Meta.
    pub struct Meta {
        /// Which version of the content it is.
        version_id: Option<String> = "versionId" + "_versionId",
        /// When the content was first seen, an instant.
        last_updated: Option<String> = "lastUpdated" + "_lastUpdated",
        /// Where the resource comes from.
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
        /// generated, extensions, additional, empty.
        status: Cow<'static, str> = "status" + "_status",
        /// XHTML.
        div: String = "div",
    }
}

element! {
    /// R4 datatypes#Period.
    pub struct Period {
        /// From here.
        start: Option<String> = "start" + "_start",
        /// To there.
        end: Option<String> = "end" + "_end",
    }
}

element! {
    /// R4 datatypes#HumanName.
    pub struct HumanName {
        /// How it is used.
        usage: Option<Cow<'static, str>> = "use" + "_use",
        /// The whole of it.
        text: Option<String> = "text" + "_text",
        /// Family name.
        family: Option<String> = "family" + "_family",
        /// Given and middle names.
        given: Vec<String> = "given" + "_given",
        /// Before it.
        prefix: Vec<String> = "prefix" + "_prefix",
        /// Behind it.
        suffix: Vec<String> = "suffix" + "_suffix",
        /// When it was used.
        period: Option<Period> = "period",
    }
}

element! {
    /// R4 datatypes#Address.
    pub struct Address {
        /// home, work, temp, old, billing.
        usage: Option<String> = "use" + "_use",
        /// postal, physical, both.
        kind: Option<String> = "type" + "_type",
        /// The whole of it.
        text: Option<String> = "text" + "_text",
        /// Street and number.
        line: Vec<String> = "line" + "_line",
        /// Town.
        city: Option<String> = "city" + "_city",
        /// County.
        district: Option<String> = "district" + "_district",
        /// State.
        state: Option<String> = "state" + "_state",
        /// Postal code.
        postal_code: Option<String> = "postalCode" + "_postalCode",
        /// Country.
        country: Option<String> = "country" + "_country",
        /// When it was used.
        period: Option<Period> = "period",
    }
}

element! {
    /// R4 datatypes#ContactPoint.
    pub struct ContactPoint {
        /// phone, email and others.
        system: Option<String> = "system" + "_system",
        /// The number or address.
        value: Option<String> = "value" + "_value",
        /// home, work, temp, old, mobile.
        usage: Option<String> = "use" + "_use",
        /// Which is tried first.
        rank: Option<u32> = "rank" + "_rank",
        /// When it was used.
        period: Option<Period> = "period",
    }
}

element! {
    /// R4 datatypes#Attachment.
    pub struct Attachment {
        /// Media type.
        content_type: Option<String> = "contentType" + "_contentType",
        /// In which language it is.
        language: Option<String> = "language" + "_language",
        /// The content, in base64.
        data: Option<String> = "data" + "_data",
        /// Where the content is.
        url: Option<String> = "url" + "_url",
        /// Its length.
        size: Option<u32> = "size" + "_size",
        /// Its SHA-1, in base64.
        hash: Option<String> = "hash" + "_hash",
        /// What it is called.
        title: Option<String> = "title" + "_title",
        /// When it was made.
        creation: Option<String> = "creation" + "_creation",
    }
}

element! {
    /// R4 datatypes#Annotation.
    pub struct Annotation {
        /// Who wrote it.
        author_reference: Option<Reference> = "authorReference",
        /// Who wrote it, in words.
        author_string: Option<String> = "authorString" + "_authorString",
        /// When it was written.
        time: Option<String> = "time" + "_time",
        /// Markdown.
        text: String = "text" + "_text",
    }
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
