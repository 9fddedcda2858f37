//! A cursor over a JSON value that knows the path it came by.
//!
//! Reading through a cursor never fails: what is absent reads as null, empty or nothing, as an
//! absent field does in Kubernetes. The path is a chain of borrowed steps and costs nothing until
//! a finding asks for it.

use model::Quantity;
use serde_json::Value;

use crate::path::{FieldPath, Step, Trail};

/// A value in an object, and how it was reached.
#[derive(Clone, Copy)]
pub(crate) struct At<'v, 'p> {
    value: &'v Value,
    trail: Trail<'p>,
}

static NULL: Value = Value::Null;

// === impl At ===

impl<'v, 'p> At<'v, 'p> {
    /// The top of an object.
    pub(crate) fn top(value: &'v Value) -> Self {
        Self {
            value,
            trail: Trail::TOP,
        }
    }

    /// A field, null where it is absent.
    pub(crate) fn field<'s>(&'s self, name: &'static str) -> At<'v, 's> {
        self.child(self.value.get(name).unwrap_or(&NULL), Step::Field(name))
    }

    /// The entry of a map under a key, null where it is absent.
    pub(crate) fn key<'s>(&'s self, key: &'v str) -> At<'v, 's> {
        self.child(self.value.get(key).unwrap_or(&NULL), Step::Key(key))
    }

    /// The entries of a list; none where it is absent.
    pub(crate) fn items<'s>(&'s self) -> impl Iterator<Item = At<'v, 's>> + 's {
        let list = self.value.as_array().map_or(&[] as &[Value], Vec::as_slice);
        list.iter()
            .enumerate()
            .map(|(index, value)| self.child(value, Step::Index(index)))
    }

    /// The entries of a map in the order of their keys; none where it is absent.
    pub(crate) fn entries<'s>(&'s self) -> impl Iterator<Item = (&'v str, At<'v, 's>)> + 's {
        self.value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), self.child(value, Step::Key(key))))
    }

    /// The fields of an object, whatever they are called; for maps there is [`Self::entries`].
    pub(crate) fn fields<'s>(&'s self) -> impl Iterator<Item = At<'v, 's>> + 's {
        let object = self.value.as_object().into_iter().flatten();
        object.map(|(name, value)| self.child(value, Step::Field(name)))
    }

    /// Whether it was reached as a field of this name.
    pub(crate) fn is_field(&self, name: &str) -> bool {
        self.trail.is_field(name)
    }

    /// The value itself.
    pub(crate) fn value(&self) -> &'v Value {
        self.value
    }

    /// Whether there is a value.
    pub(crate) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// The string, empty where there is none.
    pub(crate) fn text(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }

    /// The string, nothing where there is none or it is empty.
    pub(crate) fn some_text(&self) -> Option<&'v str> {
        self.value.as_str().filter(|text| !text.is_empty())
    }

    /// The strings of a list.
    pub(crate) fn texts(&self) -> Vec<String> {
        let list = self.value.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The whole number.
    pub(crate) fn integer(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The boolean; absent means no.
    pub(crate) fn is_true(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }

    /// The number of entries of a list or map.
    pub(crate) fn len(&self) -> usize {
        match self.value {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        }
    }

    /// The quantity, nothing where there is none or it is not one.
    pub(crate) fn quantity(&self) -> Option<Quantity> {
        self.text().parse().ok()
    }

    /// The way from the top.
    pub(crate) fn path(&self) -> FieldPath {
        self.trail.path()
    }

    fn child<'s>(&'s self, value: &'v Value, step: Step<'s>) -> At<'v, 's> {
        At {
            value,
            trail: self.trail.then(step),
        }
    }
}
