//! Person names (PS3.5 6.2.1): up to three component groups, each with up to five components. This module does not know about
//! character sets.

/// One component group, in the order of PS3.5 6.2.1.1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ComponentGroup {
    /// Family name complex.
    pub family: Box<str>,
    /// Given name complex.
    pub given: Box<str>,
    /// Middle name.
    pub middle: Box<str>,
    /// Name prefix.
    pub prefix: Box<str>,
    /// Name suffix.
    pub suffix: Box<str>,
}

impl ComponentGroup {
    /// Reads `Family^Given^Middle^Prefix^Suffix`; `None` if every component is empty (`^^^^`).
    pub fn parse(text: &str) -> Option<Self> {
        let mut components = text.splitn(5, '^').map(trim_component);
        let mut next = || components.next().unwrap_or_default();
        let group = Self { family: next(), given: next(), middle: next(), prefix: next(), suffix: next() };
        (group != Self::default()).then_some(group)
    }

    /// Returns the components that are not empty, in the order of the standard.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        [&self.family, &self.given, &self.middle, &self.prefix, &self.suffix]
            .into_iter()
            .map(AsRef::as_ref)
            .filter(|component: &&str| !component.is_empty())
    }
}

/// Returns a component without padding and white space at its ends. The last of five parts contains everything after the fourth
/// caret; text from its first caret on is removed, because PS3.5 defines five components.
fn trim_component(component: &str) -> Box<str> {
    component.split('^').next().unwrap_or_default().trim_matches(is_padding).into()
}

fn is_padding(character: char) -> bool {
    character == '\0' || character.is_ascii_whitespace()
}

/// A person name in up to three component groups (representations).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PersonName {
    /// Alphabetic representation.
    pub alphabetic: Option<ComponentGroup>,
    /// Ideographic representation.
    pub ideographic: Option<ComponentGroup>,
    /// Phonetic representation.
    pub phonetic: Option<ComponentGroup>,
}

impl PersonName {
    /// Reads `Yamada^Tarou=山田^太郎=やまだ^たろう`; `None` if every component is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let mut groups = text.splitn(3, '=').map(ComponentGroup::parse);
        let mut next = || groups.next().flatten();
        let name = Self { alphabetic: next(), ideographic: next(), phonetic: next() };
        (name != Self::default()).then_some(name)
    }

    /// Returns the groups that are not empty.
    pub fn groups(&self) -> impl Iterator<Item = &ComponentGroup> {
        [&self.alphabetic, &self.ideographic, &self.phonetic].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn name_is_split_into_three_groups() {
        let name = PersonName::parse("Yamada^Tarou=山田^太郎=やまだ^たろう").unwrap();
        assert_eq!(&*name.alphabetic.unwrap().family, "Yamada");
        assert_eq!(&*name.ideographic.unwrap().given, "太郎");
        assert_eq!(&*name.phonetic.unwrap().family, "やまだ");
    }

    #[test]
    fn name_of_delimiters_and_padding_is_empty() {
        for empty in ["", "^", "^^^^", " ^ ", "=", "^=^=^", "\0"] {
            assert_eq!(PersonName::parse(empty), None, "{empty:?}");
        }
    }

    #[test]
    fn components_have_no_white_space_at_their_ends() {
        let name = PersonName::parse("Doe\r\n^\tJane=\n").unwrap();
        assert_eq!(name.alphabetic.unwrap().components().collect::<Vec<_>>(), ["Doe", "Jane"]);
        assert_eq!(name.ideographic, None);
    }

    #[test]
    fn five_components_are_read_in_the_order_of_the_standard() {
        let group = ComponentGroup::parse("Doe ^Jane^Q.^Dr.^MD^extra").unwrap();
        assert_eq!(group.components().collect::<Vec<_>>(), ["Doe", "Jane", "Q.", "Dr.", "MD"]);
    }

    proptest! {
        #[test]
        fn components_contain_no_caret(text in "[a-z^= ]{0,40}") {
            for group in PersonName::parse(&text).iter().flat_map(PersonName::groups) {
                prop_assert!(group.components().all(|component| !component.contains('^')));
            }
        }
    }
}
