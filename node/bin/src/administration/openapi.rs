//! The API described in OpenAPI 3.1, from the operations' rows.

use estafeta_core::administration::{Field, Kind, Operation, Placing};
use serde_json::{Map, Value, json};

use super::{Table, path};

/// The whole description.
pub fn description(table: &Table) -> Value {
    let paths: Map<String, Value> = table.iter().map(|operation| (path(operation.name), describe(operation))).collect();
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Estafeta administration", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": { "Failure": {
            "type": "object",
            "description": "Why it was not done. `reason` decides whether to try again; `client` is a sentence; `cause` is for whoever runs the cluster.",
            "properties": {
                "reason": { "enum": ["unavailable", "busy", "internal", "credentials", "denied", "not-found", "exists", "invalid", "over-quota", "too-large"] },
                "client": { "type": "string" },
                "cause": { "type": "string" },
            },
            "required": ["reason", "client"],
        } } },
    })
}

fn describe(operation: &Operation) -> Value {
    let properties: Map<String, Value> =
        operation.fields.iter().map(|field| (field.name.to_owned(), schema(field))).collect();
    let required: Vec<&str> =
        operation.fields.iter().filter(|field| field.placing != Placing::Option).map(|field| field.name).collect();
    json!({ "post": {
        "operationId": operation.name.replace(' ', "-"),
        "summary": operation.about,
        "requestBody": { "content": { "application/json": { "schema": {
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        } } } },
        "responses": {
            "200": { "description": "done; an object, an array of objects, or null", "content": { "application/json": {} } },
            "default": { "description": "not done", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Failure" } } } },
        },
    } })
}

fn schema(field: &Field) -> Value {
    let mut schema = match field.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Object => json!({ "type": "object" }),
        Kind::Texts | Kind::Roles => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Integer => json!({ "type": "integer" }),
        Kind::Size => json!({ "type": ["integer", "null"], "minimum": 0 }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Secret => json!({ "type": "string", "format": "password", "writeOnly": true }),
    };
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".into(), field.about.into());
    }
    schema
}
