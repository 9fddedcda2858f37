//! A YAML or JSON document as it was written: every value with its place in the text.
//!
//! It keeps what a JSON value would lose and an error needs: positions, repeated keys, and how a
//! number or boolean was spelled. It knows nothing of Kubernetes.

use serde_json::{Map, Number, Value};

use crate::path::Segment;
use crate::source::{Mark, Position};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) data: Data,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Null,
    /// With its spelling: `yes` may have been meant as a word.
    Bool(bool, Box<str>),
    /// With its spelling: `0644` is 420.
    Number(Number, Box<str>),
    String(String),
    List(Vec<Node>),
    /// In the order of the text, repeated keys included.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) value: Node,
}

// === impl Node ===

impl Node {
    /// The value under a key; the last one, as for every reader, if the key is repeated.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The string under a key.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.data {
            Data::String(text) => Some(text),
            _ => None,
        }
    }

    /// How many values it is made of, itself included.
    pub(crate) fn size(&self) -> usize {
        1 + match &self.data {
            Data::List(items) => items.iter().map(Self::size).sum(),
            Data::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
            _ => 0,
        }
    }

    /// Whether it says nothing.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// The place of a part, or of the nearest thing around it that is there.
    ///
    /// A value on the line of its key is pointed at itself, a block below its key by the key.
    pub(crate) fn locate(&self, path: &[Segment]) -> Mark {
        let Some((first, rest)) = path.split_first() else {
            return self.mark;
        };
        let found = match (first, &self.data) {
            (Segment::Field(key) | Segment::Key(key), Data::Map(_)) => {
                self.entry(key).map(|entry| {
                    let inline = entry.mark.position.line == entry.value.mark.position.line;
                    match rest {
                        [] if !inline => entry.mark,
                        // An absent part of a block: its key says more than its first line.
                        [only] if !inline && entry.value.lacks(only) => entry.mark,
                        _ => entry.value.locate(rest),
                    }
                })
            }
            (Segment::Index(index), Data::List(items)) => {
                items.get(*index).map(|item| item.locate(rest))
            }
            _ => None,
        };
        found.unwrap_or(self.mark)
    }

    /// The JSON value; of a repeated key the last one counts.
    pub(crate) fn to_value(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value, _) => Value::Bool(*value),
            Data::Number(number, _) => Value::Number(number.clone()),
            Data::String(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Data::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Map(entries) => entries.iter().rev().find(|entry| entry.key == key),
            _ => None,
        }
    }

    fn lacks(&self, segment: &Segment) -> bool {
        match (segment, &self.data) {
            (Segment::Field(key) | Segment::Key(key), _) => self.entry(key).is_none(),
            (Segment::Index(index), Data::List(items)) => items.len() <= *index,
            _ => true,
        }
    }
}

// === impl Data ===

impl Data {
    /// What it is, in words, for `expected …, found …`.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value, spelling) if **spelling == *value.to_string() => {
                format!("the boolean {spelling}")
            }
            Self::Bool(value, spelling) => {
                format!("{spelling}, which means {value} in YAML")
            }
            Self::Number(_, spelling) => format!("the number {spelling}"),
            Self::String(text) => format!("the string {}", crate::findings::quoted(text)),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

// === impl Mark ===

impl Mark {
    /// A mark of some characters at a place.
    pub(crate) fn new(line: u32, column: u32, width: u32) -> Self {
        Self {
            position: Position { line, column },
            width: width.max(1),
        }
    }
}
