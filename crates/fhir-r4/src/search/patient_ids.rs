//! Replaces the ids of Patients in a search. A server may accept several ids of one Patient, of which its resources contain one.

use super::reference::ReferenceMatch;
use super::{Comparison, Criterion, ResourceType, Search, Searchable, printable_name};

impl<R: Searchable> Search<R> {
    /// Replaces every id of a Patient by the one that `replace` returns, in criteria and reverse chains. An id for which it returns `None`
    /// is the id of no Patient; `warning` says so about the parameter. `replace` also receives ids of other resources, if the client does
    /// not specify the type.
    pub fn replace_patient_ids(&mut self, replace: &dyn Fn(&str) -> Option<String>, warning: &'static str) {
        for criterion in &mut self.criteria {
            if !criterion.replace_patient_ids(replace) {
                self.warnings.push((printable_name(criterion.parameter.name), warning));
            }
        }
        for chain in &mut self.reverse_chains {
            if !chain.criterion.replace_patient_ids(replace) {
                self.warnings.push((printable_name("_has"), warning));
            }
        }
    }
}

impl<R: Searchable> Criterion<R> {
    /// Replaces the ids. Returns whether all of them are ids of Patients.
    fn replace_patient_ids(&mut self, replace: &dyn Fn(&str) -> Option<String>) -> bool {
        let mut are_known = true;
        let mut replace_in = |id: &mut String| match replace(id) {
            Some(other) => *id = other,
            None => are_known = false,
        };
        let is_patient_id = R::TYPE == ResourceType::Patient && self.parameter.name == "_id";
        match &mut self.comparison {
            Comparison::Reference(references) => {
                for reference in references {
                    if reference.id_of(ResourceType::Patient).is_some()
                        && let ReferenceMatch::Local { id, .. } = reference
                    {
                        replace_in(id);
                    }
                }
            }
            Comparison::Token(tokens) | Comparison::NotToken(tokens) if is_patient_id => {
                tokens.iter_mut().filter_map(|token| token.code.as_mut()).for_each(replace_in);
            }
            Comparison::Patient(criterion) => return criterion.replace_patient_ids(replace),
            _ => {}
        }
        are_known
    }
}

#[cfg(test)]
mod tests {
    use crate::search::{Handling, ParseContext, Search, Searchable};
    use crate::types::{Endpoint, ImagingStudy, Patient};

    /// Returns the search of the query, after the id `old` has been replaced by `new`. Other ids are those of no Patient.
    fn replace<R: Searchable>(query: &str) -> Search<R> {
        let context = ParseContext {
            base: "http://h/fhir",
            handling: Handling::Strict,
            default_count: 50,
            max_count: 200,
            is_uid: |_| false,
            is_other_uid: |_| false,
        };
        let (name, value) = query.split_once('=').unwrap();
        let pairs = [(name.to_owned(), value.to_owned())];
        let mut search = Search::<R>::parse(&pairs, &context).unwrap();
        search.replace_patient_ids(&|id| (id == "old").then(|| "new".to_owned()), "not the id of a Patient");
        search
    }

    /// Returns the criteria of the search.
    fn replaced<R: Searchable>(query: &str) -> String {
        let search = replace::<R>(query);
        let criteria: Vec<_> =
            search.criteria.iter().map(|criterion| format!("{:?}", criterion.comparison)).collect();
        format!("{criteria:?} {:?}", search.reverse_chains)
    }

    #[test]
    fn a_warning_names_each_parameter_with_the_id_of_no_patient() {
        let names = |warnings: Vec<(String, &'static str)>| {
            warnings.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
        };
        for (query, expected) in [
            ("patient=a", "patient"),
            ("subject=Patient/old,Patient/a", "subject"),
            ("patient._id=a", "patient"),
            ("patient=old", ""),
            ("patient=http://elsewhere/Patient/a", ""),
            ("_id=a", ""),
        ] {
            assert_eq!(names(replace::<ImagingStudy>(query).warnings), expected, "{query}");
        }
        for (query, expected) in
            [("_id=old,a", "_id"), ("_has:ImagingStudy:patient:patient=a", "_has"), ("identifier=a", "")]
        {
            assert_eq!(names(replace::<Patient>(query).warnings), expected, "{query}");
        }
    }

    #[test]
    fn every_id_of_a_patient_is_replaced_and_no_other_value() {
        for query in [
            "patient=old",
            "patient=Patient/old",
            "patient=http://h/fhir/Patient/old",
            "patient=other,old",
            "subject=Patient/old",
            "subject:Patient=old",
            "patient._id=old",
            "patient:Patient._id=old",
            "patient.link=Patient/old",
        ] {
            let text = replaced::<ImagingStudy>(query);
            assert!(text.contains("new") && !text.contains("old"), "{query}: {text}");
        }
        for query in [
            "_id=old",
            "_id:not=old",
            "_id=a,old",
            "link=Patient/old",
            "_has:ImagingStudy:patient:patient=old",
        ] {
            let text = replaced::<Patient>(query);
            assert!(text.contains("new") && !text.contains("old"), "{query}: {text}");
        }
        assert!(replaced::<Endpoint>("_has:ImagingStudy:endpoint:patient=old").contains("new"));
        for query in [
            "_id=old",
            "identifier=old",
            "patient=http://elsewhere/Patient/old",
            "subject=Device/old",
            "reason=old",
        ] {
            assert!(!replaced::<ImagingStudy>(query).contains("new"), "{query}");
        }
        for query in ["identifier=old", "family=old", "organization=Organization/old"] {
            assert!(!replaced::<Patient>(query).contains("new"), "{query}");
        }
        assert!(!replaced::<Endpoint>("_id=old").contains("new"));
    }
}
