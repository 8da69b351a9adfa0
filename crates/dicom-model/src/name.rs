//! Person names (PS3.5 6.2.1): up to three component groups, each of up to five components.

/// One component group, in the order of PS3.5 6.2.1.1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NameGroup {
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

impl NameGroup {
    /// Reads `Family^Given^Middle^Prefix^Suffix`; `None` when every component is empty (`^^^^`).
    pub fn parse(text: &str) -> Option<Self> {
        let mut components = text.splitn(5, '^').map(clean);
        let mut next = || components.next().unwrap_or_default();
        let group = Self { family: next(), given: next(), middle: next(), prefix: next(), suffix: next() };
        (group != Self::default()).then_some(group)
    }

    /// The components that are not empty, in the order of the standard.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        [&self.family, &self.given, &self.middle, &self.prefix, &self.suffix]
            .into_iter()
            .map(AsRef::as_ref)
            .filter(|component: &&str| !component.is_empty())
    }
}

/// A component without padding; a sixth caret and what follows is no name (PS3.5 knows five components).
fn clean(component: &str) -> Box<str> {
    component.split('^').next().unwrap_or_default().trim_matches([' ', '\0']).into()
}

/// A person's name: the same name in up to three writings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PersonName {
    /// Single-byte or phonetic Latin writing.
    pub alphabetic: Option<NameGroup>,
    /// Ideographic writing.
    pub ideographic: Option<NameGroup>,
    /// Phonetic writing.
    pub phonetic: Option<NameGroup>,
}

impl PersonName {
    /// Reads the unsplit form `Yamada^Tarou=山田^太郎=やまだ^たろう`; `None` when nothing is named.
    pub fn parse(text: &str) -> Option<Self> {
        let mut groups = text.splitn(3, '=').map(NameGroup::parse);
        let mut next = || groups.next().flatten();
        let name = Self { alphabetic: next(), ideographic: next(), phonetic: next() };
        (name != Self::default()).then_some(name)
    }

    /// The groups that hold something.
    pub fn groups(&self) -> impl Iterator<Item = &NameGroup> {
        [&self.alphabetic, &self.ideographic, &self.phonetic].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_groups_of_a_name_are_told_apart() {
        let name = PersonName::parse("Yamada^Tarou=山田^太郎=やまだ^たろう").unwrap();
        assert_eq!(&*name.alphabetic.unwrap().family, "Yamada");
        assert_eq!(&*name.ideographic.unwrap().given, "太郎");
        assert_eq!(&*name.phonetic.unwrap().family, "やまだ");
    }

    #[test]
    fn a_name_of_carets_and_blanks_is_no_name() {
        for nothing in ["", "^", "^^^^", " ^ ", "=", "^=^=^", "\0"] {
            assert_eq!(PersonName::parse(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn five_components_are_read_in_the_order_of_the_standard() {
        let group = NameGroup::parse("Doe ^Jane^Q.^Dr.^MD^extra").unwrap();
        assert_eq!(group.components().collect::<Vec<_>>(), ["Doe", "Jane", "Q.", "Dr.", "MD"]);
    }

    proptest! {
        #[test]
        fn no_component_keeps_a_delimiter(text in "[a-z^= ]{0,40}") {
            for group in PersonName::parse(&text).iter().flat_map(PersonName::groups) {
                prop_assert!(group.components().all(|component| !component.contains('^')));
            }
        }
    }
}
