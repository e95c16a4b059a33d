//! A check of JSON values with the JSON Schemas of the tool. It supports only the keywords in these schemas.

use serde_json::Value;

/// Returns the faults of a value, each with the path to it. An unknown keyword in the schema is also a fault.
pub(crate) fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "$", &mut found);
    found
}

fn check(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let holds = match &keyword[..] {
            "$schema" | "title" | "description" => rule.is_string(),
            "type" => has_type(rule, value),
            "enum" => rule.as_array().expect("an array").contains(value),
            "minimum" => value.as_u64().is_none_or(|number| number >= rule.as_u64().expect("a number")),
            // The schemas have only one pattern, for versions.
            "pattern" => value.as_str().is_none_or(|text| {
                let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
                rule == r"^[0-9]+\.[0-9]+$" && text.split_once('.').is_some_and(|(a, b)| number(a) && number(b))
            }),
            "required" => value.as_object().is_none_or(|object| {
                rule.as_array()
                    .expect("an array")
                    .iter()
                    .all(|name| object.contains_key(name.as_str().expect("a name")))
            }),
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    match rule.get(name) {
                        Some(rule) => check(rule, member, &format!("{at}.{name}"), found),
                        None => found.push(format!("{at}.{name} is not described")),
                    }
                }
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(rule, item, &format!("{at}[{index}]"), found);
                }
                true
            }
            _ => false,
        };
        if !holds {
            found.push(format!("{at}: {keyword}"));
        }
    }
}

fn has_type(rule: &Value, value: &Value) -> bool {
    match rule.as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        Some(_) => false,
        None => rule.as_array().is_some_and(|rules| rules.iter().any(|rule| has_type(rule, value))),
    }
}
