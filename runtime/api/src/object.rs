//! A Kubernetes object as data: JSON with metadata, and the place it was read from.
//!
//! All fields are kept, known or not. There are no typed structures for kinds here: the schema
//! table and a few accessors do, so that a kind is a row of data and nothing is lost on the way
//! through. k8s-openapi's structures would drop unknown fields, have neither defaults nor
//! positions, and cost 11 CPU seconds in every build.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::cursor::At;
use crate::error::ManifestError;
use crate::findings::FieldError;
use crate::path::FieldPath;
use crate::source::Origin;

/// An object: `apiVersion`, `kind`, `metadata` and whatever else it has.
#[derive(Debug, Clone)]
pub struct Object {
    value: Value,
    origin: Option<Arc<Origin>>,
}

// === impl Object ===

impl Object {
    /// An object made by code. Nothing, if the value is not a JSON object.
    pub fn new(value: Value) -> Option<Self> {
        value.is_object().then_some(Self {
            value,
            origin: None,
        })
    }

    /// An object made by code of this crate, which makes maps only.
    pub(crate) fn of_map(value: Value) -> Self {
        Self {
            value,
            origin: None,
        }
    }

    /// An object that was read from a text.
    pub(crate) fn read(value: Value, origin: Origin) -> Option<Self> {
        let origin = Some(Arc::new(origin));
        Some(Self {
            origin,
            ..Self::new(value)?
        })
    }

    /// `apiVersion`, empty where absent.
    pub fn api_version(&self) -> &str {
        self.top().field("apiVersion").text()
    }

    /// `kind`, empty where absent.
    pub fn kind(&self) -> &str {
        self.top().field("kind").text()
    }

    /// `metadata.name`, empty where absent.
    pub fn name(&self) -> &str {
        self.top().field("metadata").field("name").text()
    }

    /// `metadata.namespace`, empty where absent.
    pub fn namespace(&self) -> &str {
        self.top().field("metadata").field("namespace").text()
    }

    /// `metadata.uid`, empty where absent.
    pub fn uid(&self) -> &str {
        self.top().field("metadata").field("uid").text()
    }

    /// `metadata.labels` in the order of their keys.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs("labels")
    }

    /// `metadata.annotations` in the order of their keys.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs("annotations")
    }

    /// All of it as JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// All of it as JSON, to change. Places in the source stay those of what was written.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.value
    }

    /// All of it as JSON.
    pub fn into_value(self) -> Value {
        self.value
    }

    /// The same object with another `status`.
    #[must_use]
    pub fn with_status(&self, status: Value) -> Self {
        let mut object = self.clone();
        if let Some(map) = object.value.as_object_mut() {
            map.insert("status".to_owned(), status);
        }
        object
    }

    /// Kind and name as a person reads them: `Pod default/web`.
    pub fn described(&self) -> String {
        let slash = if self.namespace().is_empty() { "" } else { "/" };
        let name = format!("{}{slash}{}", self.namespace(), self.name());
        format!("{} {name}", self.kind()).trim_end().to_owned()
    }

    /// Where a field was written: `pod.yaml:12:7`, or the object's name if it was made by code.
    pub(crate) fn place(&self, path: &FieldPath) -> String {
        let Some(origin) = self.origin.as_deref() else {
            return self.described();
        };
        let position = origin.locate(path).position;
        let (name, line, column) = (&origin.source.name, position.line, position.column);
        format!("{name}:{line}:{column}")
    }

    /// A cursor at its top.
    pub(crate) fn top(&self) -> At<'_, 'static> {
        At::top(&self.value)
    }

    /// `metadata`, made if absent.
    pub(crate) fn metadata_mut(&mut self) -> Option<&mut Map<String, Value>> {
        let top = self.value.as_object_mut()?;
        let metadata = top
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new()));
        metadata.as_object_mut()
    }

    /// Findings about it, each at the place where its field was written.
    pub(crate) fn errors(&self, findings: &[FieldError]) -> Vec<ManifestError> {
        let object = self.described();
        let origin = self.origin.as_deref();
        findings
            .iter()
            .map(|finding| ManifestError::of_finding(origin, &object, finding))
            .collect()
    }

    fn pairs(&self, field: &str) -> impl Iterator<Item = (&str, &str)> {
        let map = self
            .value
            .get("metadata")
            .and_then(|metadata| metadata.get(field));
        map.and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }
}
