//! Generates the narrative of resources (R4 narrative.html): XHTML with the values of their elements, for people without FHIR
//! software. Every value is escaped. This module does not know when a narrative is requested.

use serde::Serialize;

use super::{CodeableConcept, Coding, Endpoint, HumanName, Identifier, ImagingStudy, Narrative, Patient};
use super::{Reference, Series};
use xml_escape::push_escaped;

/// A resource with a generated narrative.
pub trait HasNarrative: Serialize {
    /// Generates the narrative.
    fn narrative(&self) -> Narrative;
}

impl HasNarrative for ImagingStudy {
    fn narrative(&self) -> Narrative {
        let mut page = Xhtml::with_title("Imaging study");
        page.push_facts(|facts| {
            facts.add("Description", self.description.as_deref());
            facts.add("Patient", reference_text(&self.subject));
            facts.add("Started", self.started.as_deref());
            facts.add("Modality", join_texts(self.modality.iter().filter_map(coding_text)));
            facts.add("Procedure", join_texts(self.procedure_code.iter().filter_map(concept_text)));
            facts.add("Reason", join_texts(self.reason_code.iter().filter_map(concept_text)));
            facts.add("Referrer", self.referrer.as_ref().and_then(reference_text));
            facts.add("Interpreter", join_texts(self.interpreter.iter().filter_map(reference_text)));
            facts.add("Location", self.location.as_ref().and_then(reference_text));
            facts.add("Visit", self.encounter.as_ref().and_then(reference_text));
            facts.add("Order", join_texts(self.based_on.iter().filter_map(reference_text)));
            facts.add("Status", Some(self.status.as_ref()));
            facts.add("Series", self.number_of_series);
            facts.add("Instances", self.number_of_instances);
            self.identifier.iter().for_each(|identifier| facts.add_identifier(identifier));
        });
        page.push_table(
            ["Series", "Modality", "Description", "Body site", "Laterality", "Started", "Instances"],
            self.series.iter().map(|series| {
                let Series { number, modality, description, body_site, laterality, started, .. } = series;
                [
                    number.map(|number| number.to_string()),
                    coding_text(modality).map(str::to_owned),
                    description.clone(),
                    body_site.as_ref().and_then(coding_text).map(str::to_owned),
                    laterality.as_ref().and_then(coding_text).map(str::to_owned),
                    started.clone(),
                    series.number_of_instances.map(|count| count.to_string()),
                ]
            }),
        );
        page.finish()
    }
}

impl HasNarrative for Patient {
    fn narrative(&self) -> Narrative {
        let mut page = Xhtml::with_title("Patient");
        page.push_facts(|facts| {
            self.name.iter().for_each(|name| facts.add("Name", name_text(name)));
            facts.add("Gender", self.gender.as_deref());
            facts.add("Birth date", self.birth_date.as_deref());
            self.identifier.iter().for_each(|identifier| facts.add_identifier(identifier));
        });
        page.finish()
    }
}

impl HasNarrative for Endpoint {
    fn narrative(&self) -> Narrative {
        let mut page = Xhtml::with_title("Endpoint");
        page.push_facts(|facts| {
            facts.add("Name", self.name.as_deref());
            facts.add("Connection", coding_text(&self.connection_type));
            facts.add("Payload", join_texts(self.payload_type.iter().filter_map(concept_text)));
            facts.add("Address", Some(self.address.as_str()).filter(|address| !address.is_empty()));
            facts.add("Status", Some(self.status.as_ref()));
        });
        page.finish()
    }
}

fn coding_text(coding: &Coding) -> Option<&str> {
    coding.display.as_deref().or(coding.code.as_deref())
}

fn concept_text(concept: &CodeableConcept) -> Option<&str> {
    concept.text.as_deref().or_else(|| concept.coding.iter().find_map(coding_text))
}

fn reference_text(reference: &Reference) -> Option<&str> {
    let by_identifier = || reference.identifier.as_ref().and_then(|identifier| identifier.value.as_deref());
    reference.display.as_deref().or_else(by_identifier).or(reference.reference.as_deref())
}

fn name_text(name: &HumanName) -> Option<String> {
    let parts = || join_with(" ", name.given.iter().chain(&name.family).map(String::as_str));
    name.text.clone().or_else(parts)
}

fn join_texts<'a>(texts: impl Iterator<Item = &'a str>) -> Option<String> {
    join_with(", ", texts)
}

fn join_with<'a>(separator: &str, texts: impl Iterator<Item = &'a str>) -> Option<String> {
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(separator))
}

/// XHTML under construction.
struct Xhtml(String);

impl Xhtml {
    fn with_title(title: &str) -> Self {
        Self(format!(r#"<div xmlns="http://www.w3.org/1999/xhtml"><p><b>{title}</b></p>"#))
    }

    /// Appends a table with one row for each fact that is present.
    fn push_facts(&mut self, add: impl FnOnce(&mut TableRows)) {
        let mut facts = TableRows(String::new());
        add(&mut facts);
        // XHTML does not allow a table without rows.
        if !facts.0.is_empty() {
            self.0.extend(["<table>", &facts.0, "</table>"]);
        }
    }

    fn push_table<const COLUMNS: usize>(
        &mut self,
        heads: [&str; COLUMNS],
        rows: impl Iterator<Item = [Option<String>; COLUMNS]>,
    ) {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        self.0.push_str("<table><tr>");
        for head in heads {
            self.0.extend(["<th>", head, "</th>"]);
        }
        self.0.push_str("</tr>");
        for row in rows {
            self.0.push_str("<tr>");
            for cell in row {
                self.0.push_str("<td>");
                push_escaped(&mut self.0, cell.as_deref().unwrap_or_default());
                self.0.push_str("</td>");
            }
            self.0.push_str("</tr>");
        }
        self.0.push_str("</table>");
    }

    fn finish(mut self) -> Narrative {
        self.0.push_str("</div>");
        Narrative { status: "generated".into(), div: self.0, ..Narrative::default() }
    }
}

/// The rows of a table of facts.
struct TableRows(String);

impl TableRows {
    fn add(&mut self, name: &str, value: Option<impl ToString>) {
        let Some(value) = value else { return };
        self.0.push_str("<tr><th>");
        push_escaped(&mut self.0, name);
        self.0.push_str("</th><td>");
        push_escaped(&mut self.0, &value.to_string());
        self.0.push_str("</td></tr>");
    }

    /// Adds an identifier, labeled with its type.
    fn add_identifier(&mut self, identifier: &Identifier) {
        let is_uid = identifier.system.as_deref() == Some("urn:dicom:uid");
        let kind = identifier.kind.as_ref().and_then(concept_text);
        let name = kind.unwrap_or(if is_uid { "Study Instance UID" } else { "Identifier" });
        let to_text =
            |value| if is_uid { str::strip_prefix(value, "urn:oid:").unwrap_or(value) } else { value };
        self.add(name, identifier.value.as_deref().map(to_text));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_pass_by_value, reason = "json! returns values that are passed by value")]

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn study(members: serde_json::Value) -> ImagingStudy {
        let mut study = json!({"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": "Patient/a"}});
        study.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        serde_json::from_value(study).unwrap()
    }

    #[test]
    fn narrative_of_a_study_has_its_series_and_not_its_instances() {
        let study = study(json!({
            "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2"}, {"type": {"text": "Accession"}, "value": "A1"}],
            "modality": [{"code": "CT"}, {"code": "SR"}], "started": "2024-01-31", "subject": {"display": "Jane Doe"},
            "series": [{"uid": "1.2.3", "number": 2, "modality": {"code": "CT"}, "bodySite": {"display": "Knee", "code": "72696002"},
                "instance": [{"uid": "1.2.3.4", "sopClass": {"code": "x"}}]}],
        }));
        let Narrative { status, div, .. } = study.narrative();
        assert_eq!(status, "generated");
        for expected in [
            "<tr><th>Study Instance UID</th><td>1.2</td></tr>",
            "<tr><th>Accession</th><td>A1</td></tr>",
            "<tr><th>Modality</th><td>CT, SR</td></tr>",
            "<tr><th>Patient</th><td>Jane Doe</td></tr>",
            "<tr><td>2</td><td>CT</td><td></td><td>Knee</td><td></td><td></td><td></td></tr>",
        ] {
            assert!(div.contains(expected), "{expected}: {div}");
        }
        assert!(!div.contains("1.2.3.4"));
    }

    #[test]
    fn missing_values_have_no_row() {
        let div = Patient::default().narrative().div;
        assert_eq!(div, r#"<div xmlns="http://www.w3.org/1999/xhtml"><p><b>Patient</b></p></div>"#);
    }

    /// Returns the text that an XML reader returns for element content; panics if it contains markup.
    fn read_content(text: &str) -> String {
        assert!(!text.contains(['<', '>', '"']), "{text}");
        let parts = text.split('&').enumerate().map(|(index, part)| match (index, part.split_once(';')) {
            (0, _) => part.to_owned(),
            (_, Some(("amp", rest))) => format!("&{rest}"),
            (_, Some(("lt", rest))) => format!("<{rest}"),
            (_, Some(("gt", rest))) => format!(">{rest}"),
            (_, Some(("quot", rest))) => format!("\"{rest}"),
            (_, Some(("#x9", rest))) => format!("\t{rest}"),
            (_, Some(("#xA", rest))) => format!("\n{rest}"),
            (_, Some(("#xD", rest))) => format!("\r{rest}"),
            _ => panic!("{text}"),
        });
        parts.collect()
    }

    proptest! {
        #[test]
        fn values_are_escaped_as_text(text in any::<String>()) {
            let text = super::super::to_fhir_string(&text).unwrap_or_default();
            let div = study(json!({"description": text})).narrative().div;
            let cell = div.split("<tr><th>Description</th><td>").nth(1).and_then(|rest| rest.split("</td>").next());
            prop_assert_eq!(cell.map(read_content).unwrap_or_default(), text);
        }
    }
}
