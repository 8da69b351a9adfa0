//! The parameters of an operation that is called by POST: a Parameters resource in JSON (R4 operations.html#request), read as the
//! pairs that the same call by GET has in its query. Does not know the operations.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::Failure;
use fhir_r4::search::shown;

#[derive(Debug, Deserialize)]
struct Parameters {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    parameter: Vec<Map<String, Value>>,
}

/// The parameters in `body`, a Parameters resource; an empty body has none. Each has a name and one primitive value, as a query
/// can express them (R4 operations.html: parameters with other values cannot be in a URL).
pub fn operation_parameters(body: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let resource = serde_json::from_slice(body).map_err(|_| not_parameters())?;
    of_resource(resource)
}

/// The parameters in a Parameters resource.
pub(super) fn of_resource(resource: Value) -> Result<Vec<(String, String)>, Failure> {
    let parameters = Parameters::deserialize(resource).map_err(|_| not_parameters())?;
    if parameters.resource_type != "Parameters" {
        return Err(not_parameters());
    }
    parameters.parameter.iter().map(pair).collect()
}

fn not_parameters() -> Failure {
    Failure::bad_request("structure", "The body of an operation must be a Parameters resource, in JSON.")
}

fn pair(parameter: &Map<String, Value>) -> Result<(String, String), Failure> {
    let name = parameter.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        Failure::bad_request("required", "Each parameter of an operation has a name, which is a string.")
    })?;
    let holds_content = |key: &str| key.starts_with("value") || key == "part" || key == "resource";
    let mut contents = parameter.iter().filter(|(key, _)| holds_content(key));
    let value = match (contents.next(), contents.next()) {
        (Some((key, Value::String(text))), None) if key.starts_with("value") => text.clone(),
        (Some((key, value @ (Value::Number(_) | Value::Bool(_)))), None) if key.starts_with("value") => {
            value.to_string()
        }
        _ => {
            let diagnostics =
                format!("Parameter {}: expected one primitive value, such as valueString.", shown(name));
            return Err(Failure::bad_request("value", diagnostics));
        }
    };
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(resource: &Value) -> Result<Vec<(String, String)>, &'static str> {
        operation_parameters(resource.to_string().as_bytes()).map_err(|failure| failure.issues[0].code)
    }

    #[test]
    fn each_primitive_value_is_the_text_of_a_query() {
        let resource = json!({"resourceType": "Parameters", "id": "x", "parameter": [
            {"name": "start", "valueDate": "2024-01-31"},
            {"name": "_count", "valueInteger": 10},
            {"name": "_count", "valuePositiveInt": "10"},
            {"name": "flag", "valueBoolean": true, "extension": [{"url": "http://x", "valueString": "y"}]},
        ]});
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected =
            [pair("start", "2024-01-31"), pair("_count", "10"), pair("_count", "10"), pair("flag", "true")];
        assert_eq!(read(&resource), Ok(expected.to_vec()));
        assert_eq!(read(&json!({"resourceType": "Parameters"})), Ok(vec![]));
        assert_eq!(operation_parameters(b""), Ok(vec![]));
    }

    #[test]
    fn anything_that_a_query_cannot_express_is_rejected() {
        for (parameter, code) in [
            (json!({"valueString": "x"}), "required"),
            (json!({"name": 1, "valueString": "x"}), "required"),
            (json!({"name": "", "valueString": "x"}), "required"),
            (json!({"name": "start"}), "value"),
            (json!({"name": "start", "valueDate": "2024", "valueString": "2024"}), "value"),
            (json!({"name": "start", "valuePeriod": {"start": "2024"}}), "value"),
            (json!({"name": "start", "valueDate": null}), "value"),
            (json!({"name": "start", "valueDate": ["2024"]}), "value"),
            (json!({"name": "start", "part": [{"name": "x", "valueString": "y"}]}), "value"),
            (json!({"name": "start", "resource": {"resourceType": "Patient"}}), "value"),
        ] {
            let resource = json!({"resourceType": "Parameters", "parameter": [parameter]});
            assert_eq!(read(&resource), Err(code), "{resource}");
        }
        for resource in
            [json!({"resourceType": "Bundle"}), json!([]), json!({"parameter": []}), json!("Parameters")]
        {
            assert_eq!(read(&resource), Err("structure"), "{resource}");
        }
        assert!(operation_parameters(b"{").is_err());
    }
}
