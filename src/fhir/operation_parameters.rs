//! Parses the parameters of an operation that is invoked by POST: a Parameters resource in JSON (R4 operations#request).
//! The result has the same pairs as the query of the operation invoked by GET. The module does not know which operations
//! exist.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::Failure;
use fhir_r4::search::printable_name;

#[derive(Debug, Deserialize)]
struct Parameters {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    parameter: Vec<Map<String, Value>>,
}

/// Returns the names and values of the parameters in `body`, a Parameters resource; an empty body has none. Each parameter must
/// have one primitive value, because a query cannot express other values (R4 operations.html).
pub fn parse_operation_parameters(body: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let resource = serde_json::from_slice(body).map_err(|_| not_a_parameters_resource())?;
    parse_resource(resource)
}

/// Returns the names and values of the parameters in a Parameters resource.
pub(super) fn parse_resource(resource: Value) -> Result<Vec<(String, String)>, Failure> {
    let parameters = Parameters::deserialize(resource).map_err(|_| not_a_parameters_resource())?;
    if parameters.resource_type != "Parameters" {
        return Err(not_a_parameters_resource());
    }
    parameters.parameter.iter().map(parse_parameter).collect()
}

fn not_a_parameters_resource() -> Failure {
    Failure::bad_request("structure", "The body of an operation must be a Parameters resource, in JSON.")
}

fn parse_parameter(parameter: &Map<String, Value>) -> Result<(String, String), Failure> {
    let name = parameter.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        Failure::bad_request("required", "Each parameter of an operation must have a name that is a string.")
    })?;
    let is_content = |key: &str| key.starts_with("value") || key == "part" || key == "resource";
    let mut contents = parameter.iter().filter(|(key, _)| is_content(key));
    let value = match (contents.next(), contents.next()) {
        (Some((key, Value::String(text))), None) if key.starts_with("value") => text.clone(),
        (Some((key, value @ (Value::Number(_) | Value::Bool(_)))), None) if key.starts_with("value") => {
            value.to_string()
        }
        _ => {
            let diagnostics = format!(
                "Parameter {}: expected one primitive value, such as valueString.",
                printable_name(name)
            );
            return Err(Failure::bad_request("value", diagnostics));
        }
    };
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(resource: &Value) -> Result<Vec<(String, String)>, &'static str> {
        parse_operation_parameters(resource.to_string().as_bytes()).map_err(|failure| failure.issues[0].code)
    }

    #[test]
    fn a_primitive_value_is_the_same_text_as_in_a_query() {
        let resource = json!({"resourceType": "Parameters", "id": "x", "parameter": [
            {"name": "start", "valueDate": "2024-01-31"},
            {"name": "_count", "valueInteger": 10},
            {"name": "_count", "valuePositiveInt": "10"},
            {"name": "flag", "valueBoolean": true, "extension": [{"url": "http://x", "valueString": "y"}]},
        ]});
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected =
            [pair("start", "2024-01-31"), pair("_count", "10"), pair("_count", "10"), pair("flag", "true")];
        assert_eq!(parse(&resource), Ok(expected.to_vec()));
        assert_eq!(parse(&json!({"resourceType": "Parameters"})), Ok(vec![]));
        assert_eq!(parse_operation_parameters(b""), Ok(vec![]));
    }

    #[test]
    fn a_parameter_that_a_query_cannot_express_is_rejected() {
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
            assert_eq!(parse(&resource), Err(code), "{resource}");
        }
        for resource in
            [json!({"resourceType": "Bundle"}), json!([]), json!({"parameter": []}), json!("Parameters")]
        {
            assert_eq!(parse(&resource), Err("structure"), "{resource}");
        }
        assert!(parse_operation_parameters(b"{").is_err());
    }
}
