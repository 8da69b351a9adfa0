//! What a resource has under a search parameter, in the forms that R4 search compares.

use crate::types::{CodeableConcept, Coding, Identifier, Reference};

/// One value of a resource.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A code or an identifier.
    Token(TokenValue<'a>),
    /// A UID that is written `urn:oid:…` under the system of URIs.
    Oid(&'a str),
    /// A date, or a date and time.
    Date(&'a str),
    /// A text that is found by its beginning.
    Text(&'a str),
    /// A part of a name, whose words are found independently of each other (R4 datatypes#HumanName).
    Words(&'a str),
    /// A reference.
    Reference(&'a Reference),
    /// A URI.
    Uri(&'a str),
}

/// What a token is compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenValue<'a> {
    /// Where the code comes from, or who makes the identifier unique.
    pub system: Option<&'a str>,
    /// The code, or the identifier itself; `None` where there are words only.
    pub code: Option<&'a str>,
    /// The words that go with it: of the code and of the concept, or of the identifier's type.
    pub words: [Option<&'a str>; 2],
    /// The identifier's type.
    pub kind: Option<&'a CodeableConcept>,
}

impl<'a> Value<'a> {
    /// A code whose system is that of its value set (R4 search#token).
    pub fn code(system: &'a str, code: &'a str) -> Self {
        Self::Token(TokenValue { system: Some(system), code: Some(code), ..TokenValue::default() })
    }

    /// An id or a UID: a code without a system.
    pub fn bare(code: &'a str) -> Self {
        Self::Token(TokenValue { code: Some(code), ..TokenValue::default() })
    }

    /// A coding.
    pub fn coding(coding: &'a Coding) -> Self {
        Self::of_concept(coding, None)
    }

    fn of_concept(coding: &'a Coding, text: Option<&'a str>) -> Self {
        Self::Token(TokenValue {
            system: coding.system.as_deref(),
            code: coding.code.as_deref(),
            words: [coding.display.as_deref(), text],
            kind: None,
        })
    }

    /// An identifier.
    pub fn identifier(identifier: &'a Identifier) -> Self {
        Self::Token(TokenValue {
            system: identifier.system.as_deref(),
            code: identifier.value.as_deref(),
            words: [identifier.kind.as_ref().and_then(|kind| kind.text.as_deref()), None],
            kind: identifier.kind.as_ref(),
        })
    }

    /// Each coding of a concept, or its words where it has none.
    pub fn each_of_concept(concept: &'a CodeableConcept, each: &mut dyn FnMut(Self)) {
        let text = concept.text.as_deref();
        concept.coding.iter().for_each(|coding| each(Self::of_concept(coding, text)));
        if concept.coding.is_empty() && text.is_some() {
            each(Self::Token(TokenValue { words: [text, None], ..TokenValue::default() }));
        }
    }

    /// Whether there is nothing to be found: a coding may only say that its code is not known.
    pub(super) fn says_nothing(&self) -> bool {
        match self {
            Self::Token(token) => {
                token.system.is_none() && token.code.is_none() && token.words.iter().all(Option::is_none)
            }
            Self::Date(text) | Self::Text(text) | Self::Words(text) | Self::Uri(text) | Self::Oid(text) => {
                text.is_empty()
            }
            Self::Reference(reference) => {
                reference.reference.is_none() && reference.identifier.is_none() && reference.display.is_none()
            }
        }
    }
}
