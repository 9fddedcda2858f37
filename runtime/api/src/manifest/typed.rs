//! A tree read as an object of a type: every field known, every value of its shape.
//!
//! All faults of an object are collected; the value that comes out holds what was right. Values
//! are put into the form the API keeps: null fields are absent, `cpu: 1` is the quantity "1".
//! Whether a value makes sense is not asked here: that is validation, which also sees objects that
//! never were a text.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Quantity;
use serde_json::{Map, Number, Value};

use super::suggest;
use super::tree::{Data, Entry, Node};
use crate::error::{MAX_COLLECTED, ManifestError};
use crate::path::{Step, Trail};
use crate::schema::{self, Shape, Type};
use crate::source::{Mark, Source};

/// A tree as a value, and what was wrong with it.
pub(crate) struct Typed {
    pub(crate) value: Value,
    pub(crate) errors: Vec<ManifestError>,
    /// Whether every value has its shape, so that validation may look at them.
    pub(crate) is_sound: bool,
}

struct Reading<'a> {
    source: &'a Arc<Source>,
    /// The type of the whole object, where it is known.
    top: Option<Type>,
    errors: Vec<ManifestError>,
    is_sound: bool,
}

/// Reads a tree as an object of a built-in type.
pub(crate) fn read(node: &Node, top: Type, source: &Arc<Source>) -> Typed {
    let mut reading = Reading::new(source, Some(top));
    let value = reading.object(node, top, &Trail::TOP).unwrap_or_default();
    reading.finished(value)
}

/// Reads a tree of a kind whose fields are not known: only repeated keys are faults.
pub(crate) fn read_untyped(node: &Node, source: &Arc<Source>) -> Typed {
    let mut reading = Reading::new(source, None);
    reading.repeated_keys_within(node, &Trail::TOP);
    reading.finished(node.to_value())
}

// === impl Reading ===

impl<'a> Reading<'a> {
    fn new(source: &'a Arc<Source>, top: Option<Type>) -> Self {
        Self {
            source,
            top,
            errors: Vec::new(),
            is_sound: true,
        }
    }

    fn finished(self, value: Value) -> Typed {
        Typed {
            value,
            errors: self.errors,
            is_sound: self.is_sound,
        }
    }

    fn value(&mut self, node: &Node, shape: Shape, trail: &Trail<'_>) -> Option<Value> {
        match shape {
            Shape::Object(name) => match schema::named(name) {
                Some(ty) => self.object(node, ty, trail),
                None => Some(node.to_value()),
            },
            Shape::List(entry) => self.list(node, Shape::of(entry), trail),
            Shape::Map(value) => self.map(node, Shape::of(value), trail),
            Shape::Any => {
                self.repeated_keys_within(node, trail);
                Some(node.to_value())
            }
            scalar => self.scalar(node, scalar, trail),
        }
    }

    fn object(&mut self, node: &Node, ty: Type, trail: &Trail<'_>) -> Option<Value> {
        let Data::Map(entries) = &node.data else {
            return self.wrong(node, Shape::Object(ty.name()), trail);
        };
        self.repeated_keys(entries, trail, Step::Field);
        let mut object = Map::new();
        for entry in entries {
            let Some(field) = ty.field(&entry.key) else {
                self.unknown(entry, ty, trail);
                continue;
            };
            if entry.value.is_null() {
                continue;
            }
            let trail = trail.then(Step::Field(field.name));
            if let Some(value) = self.value(&entry.value, field.shape, &trail) {
                object.insert(entry.key.clone(), value);
            }
        }
        for name in ty.required() {
            if node.get(name).is_none_or(Node::is_null) {
                let mark = node.get(name).map_or(node.mark, |value| value.mark);
                self.report(mark, &trail.then(Step::Field(name)), "Required value");
            }
        }
        Some(Value::Object(object))
    }

    fn list(&mut self, node: &Node, shape: Shape, trail: &Trail<'_>) -> Option<Value> {
        let Data::List(items) = &node.data else {
            return self.wrong(node, Shape::List(""), trail);
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let trail = trail.then(Step::Index(index));
            if item.is_null() {
                self.is_sound = false;
                self.report(
                    item.mark,
                    &trail,
                    "this entry is empty; remove its dash or give it a value",
                );
                continue;
            }
            list.extend(self.value(item, shape, &trail));
        }
        Some(Value::Array(list))
    }

    fn map(&mut self, node: &Node, shape: Shape, trail: &Trail<'_>) -> Option<Value> {
        let Data::Map(entries) = &node.data else {
            return self.wrong(node, Shape::Map(""), trail);
        };
        self.repeated_keys(entries, trail, Step::Key);
        let mut map = Map::new();
        for entry in entries {
            let trail = trail.then(Step::Key(&entry.key));
            let value = match &entry.value.data {
                // `KEY:` with nothing behind it is the empty string, as it is to the API server.
                Data::Null if matches!(shape, Shape::String | Shape::Bytes) => {
                    Some(Value::String(String::new()))
                }
                _ => self.value(&entry.value, shape, &trail),
            };
            if let Some(value) = value {
                map.insert(entry.key.clone(), value);
            }
        }
        Some(Value::Object(map))
    }

    fn scalar(&mut self, node: &Node, shape: Shape, trail: &Trail<'_>) -> Option<Value> {
        let value = match (shape, &node.data) {
            (Shape::String | Shape::IntOrString, Data::String(text)) => {
                Some(Value::String(text.clone()))
            }
            (Shape::Bool, Data::Bool(value, _)) => Some(Value::Bool(*value)),
            (Shape::Int32 | Shape::IntOrString, Data::Number(number, _)) => whole(number)
                .filter(|n| i32::try_from(*n).is_ok())
                .map(Value::from),
            (Shape::Int64, Data::Number(number, _)) => whole(number).map(Value::from),
            (Shape::Number, Data::Number(number, _)) => Some(Value::Number(number.clone())),
            (Shape::Quantity, Data::Number(_, text)) => return self.quantity(node, text, trail),
            (Shape::Quantity, Data::String(text)) => return self.quantity(node, text, trail),
            (Shape::Bytes, Data::String(text)) => return self.bytes(node, text, trail),
            (Shape::Time, Data::String(text)) => return self.time(node, text, trail),
            _ => None,
        };
        value.or_else(|| self.wrong(node, shape, trail))
    }

    fn quantity(&mut self, node: &Node, text: &str, trail: &Trail<'_>) -> Option<Value> {
        match text.parse::<Quantity>() {
            Ok(_) => Some(Value::String(text.to_owned())),
            Err(error) => self.misfit(node.mark, trail, &error.to_string()),
        }
    }

    fn bytes(&mut self, node: &Node, text: &str, trail: &Trail<'_>) -> Option<Value> {
        // Line ends inside are allowed, as in Go.
        let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        if STANDARD.decode(&joined).is_ok() {
            return Some(Value::String(joined));
        }
        let message = "not base64; encode the value, or write it plainly under stringData (Secret) or data (ConfigMap)";
        self.misfit(node.mark, trail, message)
    }

    fn time(&mut self, node: &Node, text: &str, trail: &Trail<'_>) -> Option<Value> {
        match text.parse::<jiff::Timestamp>() {
            Ok(_) => Some(Value::String(text.to_owned())),
            Err(_) => {
                let message = format!("{text:?} is not a time; write it as 2026-01-31T12:00:00Z");
                self.misfit(node.mark, trail, &message)
            }
        }
    }

    /// The value has another shape than the field.
    fn wrong(&mut self, node: &Node, shape: Shape, trail: &Trail<'_>) -> Option<Value> {
        let message = format!(
            "expected {}, found {}{}",
            described(shape),
            node.data.described(),
            remedy(shape, &node.data)
        );
        self.misfit(node.mark, trail, &message)
    }

    /// The value cannot be read; validation could only repeat that in other words.
    fn misfit(&mut self, mark: Mark, trail: &Trail<'_>, message: &str) -> Option<Value> {
        self.is_sound = false;
        self.report(mark, trail, message);
        None
    }

    fn unknown(&mut self, entry: &Entry, ty: Type, trail: &Trail<'_>) {
        if self.errors.len() >= MAX_COLLECTED {
            return;
        }
        let hint = self.top.map_or_else(String::new, |top| {
            suggest::for_field(&entry.key, &trail.path(), top, ty)
        });
        let trail = trail.then(Step::Field(&entry.key));
        self.report(entry.mark, &trail, &format!("unknown field{hint}"));
    }

    fn repeated_keys<'e>(
        &mut self,
        entries: &'e [Entry],
        trail: &Trail<'_>,
        step: fn(&'e str) -> Step<'e>,
    ) {
        // A mapping has a few keys, save the data of a ConfigMap.
        let mut first = HashMap::with_capacity(entries.len());
        for entry in entries {
            if let Some(line) = first.insert(entry.key.as_str(), entry.mark.position.line) {
                let message =
                    format!("this key is there already, in line {line}; remove one of them");
                self.report(entry.mark, &trail.then(step(&entry.key)), &message);
            }
        }
    }

    fn repeated_keys_within(&mut self, node: &Node, trail: &Trail<'_>) {
        match &node.data {
            Data::Map(entries) => {
                self.repeated_keys(entries, trail, Step::Field);
                for entry in entries {
                    self.repeated_keys_within(&entry.value, &trail.then(Step::Field(&entry.key)));
                }
            }
            Data::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.repeated_keys_within(item, &trail.then(Step::Index(index)));
                }
            }
            _ => {}
        }
    }

    fn report(&mut self, mark: Mark, trail: &Trail<'_>, message: &str) {
        if self.errors.len() >= MAX_COLLECTED {
            return;
        }
        self.errors
            .push(ManifestError::at(self.source, mark, &trail.path(), message));
    }
}

/// The number, if it is whole: `1.0` is, as kubectl's parser has it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a whole number within the exact range of f64 is not changed"
)]
fn whole(number: &Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
    })
}

/// What a shape is, in words.
fn described(shape: Shape) -> &'static str {
    match shape {
        Shape::String => "a string",
        Shape::Bool => "true or false",
        Shape::Int32 => "a whole number of 32 bits",
        Shape::Int64 => "a whole number",
        Shape::Number => "a number",
        Shape::Bytes => "base64",
        Shape::Time => "a time",
        Shape::Quantity => "a quantity such as 500m or 64Mi",
        Shape::IntOrString => "a whole number or a string",
        Shape::Any => "a value",
        Shape::Object(_) | Shape::Map(_) => "a mapping",
        Shape::List(_) => "a list",
    }
}

/// What to do about a value of the wrong shape.
fn remedy(shape: Shape, data: &Data) -> String {
    match (shape, data) {
        (
            Shape::String | Shape::Bytes | Shape::Time,
            Data::Bool(_, spelling) | Data::Number(_, spelling),
        ) => format!("; put it in quotes: \"{spelling}\""),
        (Shape::Bool, Data::String(text)) if text == "true" || text == "false" => {
            "; remove the quotes".to_owned()
        }
        (Shape::Int32 | Shape::Int64 | Shape::Number, Data::String(text))
            if super::scalar::number(text).is_some() =>
        {
            "; remove the quotes".to_owned()
        }
        (Shape::List(_), Data::Map(_)) => "; begin each entry with a dash".to_owned(),
        (Shape::List(_), Data::String(text)) => {
            format!("; write it as a list: [{}]", crate::findings::quoted(text))
        }
        (Shape::Object(_) | Shape::Map(_), Data::List(_)) => {
            "; remove the dash before its first field".to_owned()
        }
        _ => String::new(),
    }
}
