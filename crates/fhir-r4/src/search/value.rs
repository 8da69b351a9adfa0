//! The values of a resource for a search parameter, in the forms that R4 search compares. This module does not know about
//! parameters.

use crate::types::{CodeableConcept, Coding, Identifier, Reference};

/// One value of a resource.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A code or an identifier.
    Token(TokenValue<'a>),
    /// A UID that is represented as `urn:oid:…` with the system urn:ietf:rfc:3986.
    Oid(&'a str),
    /// A date, or a date and time.
    Date(&'a str),
    /// A text whose beginning is compared.
    Text(&'a str),
    /// A part of a name, whose words can be found separately (R4 datatypes#HumanName).
    NamePart(&'a str),
    /// A reference.
    Reference(&'a Reference),
    /// A URI.
    Uri(&'a str),
}

/// The value that a token is compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenValue<'a> {
    /// The code system, or the namespace of the identifier.
    pub system: Option<&'a str>,
    /// The code, or the value of the identifier; `None` if there is only a text.
    pub code: Option<&'a str>,
    /// The texts: display of the code and text of the concept, or text of the identifier type.
    pub texts: [Option<&'a str>; 2],
    /// The type of the identifier.
    pub kind: Option<&'a CodeableConcept>,
}

impl<'a> Value<'a> {
    /// Returns a code with the system of its value set (R4 search#token).
    pub fn code(system: &'a str, code: &'a str) -> Self {
        Self::Token(TokenValue { system: Some(system), code: Some(code), ..TokenValue::default() })
    }

    /// Returns an id or a UID: a code without a system.
    pub fn without_system(code: &'a str) -> Self {
        Self::Token(TokenValue { code: Some(code), ..TokenValue::default() })
    }

    /// Returns a coding.
    pub fn coding(coding: &'a Coding) -> Self {
        Self::from_concept(coding, None)
    }

    fn from_concept(coding: &'a Coding, text: Option<&'a str>) -> Self {
        Self::Token(TokenValue {
            system: coding.system.as_deref(),
            code: coding.code.as_deref(),
            texts: [coding.display.as_deref(), text],
            kind: None,
        })
    }

    /// Returns an identifier.
    pub fn identifier(identifier: &'a Identifier) -> Self {
        Self::Token(TokenValue {
            system: identifier.system.as_deref(),
            code: identifier.value.as_deref(),
            texts: [identifier.kind.as_ref().and_then(|kind| kind.text.as_deref()), None],
            kind: identifier.kind.as_ref(),
        })
    }

    /// Passes each coding of a concept to `each`, or its text if it has no coding.
    pub fn for_each_coding(concept: &'a CodeableConcept, each: &mut dyn FnMut(Self)) {
        let text = concept.text.as_deref();
        concept.coding.iter().for_each(|coding| each(Self::from_concept(coding, text)));
        if concept.coding.is_empty() && text.is_some() {
            each(Self::Token(TokenValue { texts: [text, None], ..TokenValue::default() }));
        }
    }

    /// Whether the value is empty, for example a coding whose code is unknown.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Token(token) => {
                token.system.is_none() && token.code.is_none() && token.texts.iter().all(Option::is_none)
            }
            Self::Date(text)
            | Self::Text(text)
            | Self::NamePart(text)
            | Self::Uri(text)
            | Self::Oid(text) => text.is_empty(),
            Self::Reference(reference) => {
                reference.reference.is_none() && reference.identifier.is_none() && reference.display.is_none()
            }
        }
    }
}
