//! The studies of the scripted archive, and their rows and metadata in DICOM JSON.

use serde_json::{Map, Value, json};

use super::{Behavior, CannedResponse, Dialect, Paging, ROOT};

const CT_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.2";

/// A study of the scripted archive.
#[derive(Debug, Clone)]
pub struct Study {
    uid: String,
    attributes: Map<String, Value>,
    series: Vec<Series>,
}

#[derive(Debug, Clone)]
struct Series {
    uid: String,
    modality: String,
    /// The last components of the SOP Instance UIDs.
    instance_numbers: Vec<usize>,
}

impl Study {
    /// Creates a study of patient P1 without series.
    pub fn new(uid: &str) -> Self {
        Self { uid: uid.to_owned(), attributes: Map::new(), series: Vec::new() }
            .attribute("00080020", json!({"vr": "DA", "Value": ["20240131"]}))
            .patient("P1", "Doe^Jane")
    }

    /// Sets the patient.
    pub fn patient(self, id: &str, name: &str) -> Self {
        self.attribute("00100020", json!({"vr": "LO", "Value": [id]}))
            .attribute("00100010", json!({"vr": "PN", "Value": [{"Alphabetic": name}]}))
    }

    /// Sets the Study Date.
    pub fn study_date(self, date: &str) -> Self {
        self.attribute("00080020", json!({"vr": "DA", "Value": [date]}))
    }

    /// Sets the Accession Number.
    pub fn accession_number(self, number: &str) -> Self {
        self.attribute("00080050", json!({"vr": "SH", "Value": [number]}))
    }

    /// Adds a series with `instance_count` instances. Their UIDs are the UID of the series with the suffixes `.1`, `.2`, ...
    pub fn series(self, uid: &str, modality: &str, instance_count: usize) -> Self {
        self.series_with_instances(uid, modality, 1..=instance_count)
    }

    /// Adds a series with the instances whose UIDs are the UID of the series with these numbers as suffixes.
    pub fn series_with_instances(
        mut self,
        uid: &str,
        modality: &str,
        instance_numbers: impl IntoIterator<Item = usize>,
    ) -> Self {
        let instance_numbers = instance_numbers.into_iter().collect();
        self.series.push(Series { uid: uid.to_owned(), modality: modality.to_owned(), instance_numbers });
        self
    }

    /// Sets an attribute of the study; `element` may be invalid DICOM JSON.
    pub fn attribute(mut self, tag: &str, element: Value) -> Self {
        self.attributes.insert(tag.to_owned(), element);
        self
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    fn row(&self, base_url: &str) -> Value {
        let mut row = self.attributes.clone();
        let modalities: Vec<_> = self.series.iter().map(|series| series.modality.clone()).collect();
        let instance_count: usize = self.series.iter().map(|series| series.instance_numbers.len()).sum();
        let url = format!("{base_url}{ROOT}/studies/{}", self.uid);
        let mut insert = |tag: &str, element| {
            row.entry(tag).or_insert(element);
        };
        insert("0020000D", json!({"vr": "UI", "Value": [self.uid]}));
        insert("00080061", json!({"vr": "CS", "Value": modalities}));
        insert("00201206", json!({"vr": "IS", "Value": [self.series.len()]}));
        insert("00201208", json!({"vr": "IS", "Value": [instance_count]}));
        insert("00081190", json!({"vr": "UR", "Value": [url]}));
        Value::Object(row)
    }

    fn series_rows<'a>(&'a self, base_url: &'a str) -> impl Iterator<Item = Value> + 'a {
        self.series.iter().enumerate().map(move |(index, series)| {
            json!({
                "00080060": {"vr": "CS", "Value": [series.modality]},
                "00081190": {"vr": "UR", "Value": [format!("{base_url}{ROOT}/studies/{}/series/{}", self.uid, series.uid)]},
                "0020000D": {"vr": "UI", "Value": [self.uid]},
                "0020000E": {"vr": "UI", "Value": [series.uid]},
                "00200011": {"vr": "IS", "Value": [index + 1]},
                "00201209": {"vr": "IS", "Value": [series.instance_numbers.len()]},
            })
        })
    }

    fn instance_rows<'a>(
        &'a self,
        base_url: &'a str,
        series_uid: Option<&'a str>,
    ) -> impl Iterator<Item = Value> + 'a {
        let series = self.series.iter().filter(move |series| series_uid.is_none_or(|uid| series.uid == uid));
        series.flat_map(move |series| {
            series.instance_numbers.iter().map(move |number| {
                let path = format!(
                    "{ROOT}/studies/{}/series/{}/instances/{}.{number}",
                    self.uid, series.uid, series.uid
                );
                json!({
                    "00080016": {"vr": "UI", "Value": [CT_IMAGE_STORAGE]},
                    "00080018": {"vr": "UI", "Value": [format!("{}.{number}", series.uid)]},
                    "00080060": {"vr": "CS", "Value": [series.modality]},
                    "00081190": {"vr": "UR", "Value": [format!("{base_url}{path}")]},
                    "0020000D": {"vr": "UI", "Value": [self.uid]},
                    "0020000E": {"vr": "UI", "Value": [series.uid]},
                    "00200013": {"vr": "IS", "Value": [number]},
                    "7FE00010": {"vr": "OW", "BulkDataURI": format!("{base_url}{path}/bulk/7fe00010")},
                })
            })
        })
    }
}

/// Returns the response to a request for rows or metadata of `studies`; `None` for other resources.
pub(super) fn respond(
    studies: &[Study],
    behavior: &Behavior,
    base_url: &str,
    target: &str,
) -> Option<CannedResponse> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments: Vec<&str> = path.strip_prefix(ROOT)?.trim_start_matches('/').split('/').collect();
    let dialect = behavior.dialect;
    if let Some(status) = dialect.fails_with {
        return Some(CannedResponse::status(status));
    }
    if let Some(status) = dialect.rejects_unrestricted_with
        && !query.contains("UID=")
        && !query.contains("PatientID=")
        && segments == ["studies"]
    {
        return Some(CannedResponse::status(status));
    }
    let Some(query) = dialect.read(query) else { return Some(CannedResponse::status(400)) };
    let query = query.as_str();
    if dialect.lacks_searches_across_studies && matches!(segments.as_slice(), ["series" | "instances"]) {
        return Some(CannedResponse::status(501));
    }
    let studies_with_uid = |uid: &str| studies.iter().filter(|study| study.uid == uid).collect::<Vec<_>>();
    let rows: Vec<Value> = match segments.as_slice() {
        ["studies"] => {
            let is_ignored = |pair: &&str| {
                behavior.ignored_key.as_deref().is_some_and(|key| pair.split('=').next() == Some(key))
            };
            let query = query.split('&').filter(|pair| !is_ignored(pair)).collect::<Vec<_>>().join("&");
            let matching = studies
                .iter()
                .filter(|study| behavior.ignore_matching_keys || study_matches(study, &query, dialect));
            matching.map(|study| study.row(base_url)).collect()
        }
        ["studies", uid, "series"] => {
            studies_with_uid(uid).iter().flat_map(|study| study.series_rows(base_url)).collect()
        }
        ["studies", uid, "instances"] => {
            studies_with_uid(uid).iter().flat_map(|study| study.instance_rows(base_url, None)).collect()
        }
        ["studies", uid, "series", series, "instances"] => studies_with_uid(uid)
            .iter()
            .flat_map(|study| study.instance_rows(base_url, Some(series)))
            .collect(),
        ["studies", uid, "metadata"] | ["studies", uid, "series", _, "metadata"] => {
            let series = segments.get(3).copied();
            let rows: Vec<_> = studies_with_uid(uid)
                .iter()
                .flat_map(|study| study.instance_rows(base_url, series))
                .collect();
            if rows.is_empty() {
                return Some(CannedResponse::status(404));
            }
            rows
        }
        ["series"] => {
            let rows = studies.iter().flat_map(|study| study.series_rows(base_url));
            rows.filter(|row| row_matches(row, query)).collect()
        }
        ["instances"] => {
            let rows = studies.iter().flat_map(|study| study.instance_rows(base_url, None));
            rows.filter(|row| row_matches(row, query)).collect()
        }
        _ => return None,
    };
    if dialect.not_found_without_match && rows.is_empty() {
        return Some(CannedResponse::status(404));
    }
    if segments == ["studies"] && behavior.max_listed_studies.is_some_and(|max| rows.len() > max) {
        return Some(CannedResponse::status(413));
    }
    let rows = rows.into_iter().flat_map(|row| std::iter::repeat_n(row, behavior.row_copy_count + 1));
    let number_of = |key: &str| parameter_value(query, key).and_then(|value| value.parse::<usize>().ok());
    let (limit, offset) = (number_of("limit").unwrap_or(usize::MAX), number_of("offset").unwrap_or(0));
    let (limit, offset) = match behavior.paging {
        _ if segments.last() == Some(&"metadata") => (usize::MAX, 0),
        Paging::Standard | Paging::EndOffsetRejected => (limit, offset),
        Paging::Ignored => (usize::MAX, 0),
        Paging::OffsetIgnored => (limit, 0),
        Paging::LimitIgnored => (usize::MAX, offset),
        Paging::Truncated(max) | Paging::TruncatedWithWarning(max) => (limit.min(max), offset),
        Paging::FirstRowsWithWarning(max) => (limit.min(max), 0),
    };
    let rows: Vec<Value> = rows.collect();
    if behavior.paging == Paging::EndOffsetRejected && offset > 0 && offset >= rows.len() {
        return Some(CannedResponse::status(400));
    }
    let remaining_count = rows.len().saturating_sub(offset.saturating_add(limit));
    let has_warning =
        matches!(behavior.paging, Paging::TruncatedWithWarning(_) | Paging::FirstRowsWithWarning(_));
    let response =
        CannedResponse::json(Value::Array(rows.into_iter().skip(offset).take(limit).collect()).to_string());
    if has_warning && remaining_count > 0 {
        let warning =
            format!("299 pacs: \"There are {remaining_count} additional results that can be requested\"");
        return Some(response.header("warning", &warning));
    }
    Some(response)
}

fn parameter_value<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
}

/// Whether the study matches the keys that every archive supports. Other keys are ignored, as archives do.
fn study_matches(study: &Study, query: &str, dialect: Dialect) -> bool {
    let attribute_text = |tag: &str| {
        study.attributes.get(tag).and_then(|element| element["Value"][0].as_str()).unwrap_or_default()
    };
    let has_value = |key: &str, value: &str| {
        parameter_value(query, key).is_none_or(|list| list.split(',').any(|element| element == value))
    };
    let name = study.attributes.get("00100010").and_then(|name| name["Value"][0]["Alphabetic"].as_str());
    dialect.matches_name(parameter_value(query, "PatientName"), name.unwrap_or_default())
        && has_value("StudyInstanceUID", &study.uid)
        && has_value("PatientID", attribute_text("00100020"))
        && has_value("AccessionNumber", attribute_text("00080050"))
        && parameter_value(query, "StudyDate")
            .is_none_or(|range| is_within(range, attribute_text("00080020")))
}

/// Whether `date` is in `range`, which is a date, or a range of dates that may be open at one end.
fn is_within(range: &str, date: &str) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    !date.is_empty() && date >= first && (last.is_empty() || date <= last)
}

/// Whether the row of a series or an instance matches the UIDs in the query.
fn row_matches(row: &Value, query: &str) -> bool {
    let keys =
        [("StudyInstanceUID", "0020000D"), ("SeriesInstanceUID", "0020000E"), ("SOPInstanceUID", "00080018")];
    keys.iter().all(|(key, tag)| {
        let value = row[tag]["Value"][0].as_str();
        parameter_value(query, key).is_none_or(|list| list.split(',').any(|element| Some(element) == value))
    })
}
