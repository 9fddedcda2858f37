//! The schema table: every built-in kind of Kubernetes 1.36 with its fields.
//!
//! Two sorted text files, derived by `cargo xtask schema`, are part of the program and searched
//! where they lie, by bisection. Nothing is parsed or allocated at start, and looking one type up
//! touches a few hundred bytes: `wasmpod run` of a small pod needs about twenty of the 750 types.
//! Descriptions are deliberately absent, and so are custom resources, which are rows made at run
//! time.

use std::cmp::Ordering;

const KINDS: &str = include_str!("../schema/kinds.txt");
const TYPES: &str = include_str!("../schema/types.txt");

/// Where each type begins in [`TYPES`]; worked out by the compiler, so it is never out of date.
static STARTS: [u32; count_types()] = type_starts();

/// A type with fields, for example `core/v1.Container`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type {
    name: &'static str,
    /// The rest of the first line: `defaults=…`, `enums=…`, `map=…`.
    flags: &'static str,
    /// A line per field, each beginning with a space.
    fields: &'static str,
}

/// A field of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    flags: &'static str,
}

/// What a field, an entry of a list or a value of a map holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    String,
    /// A boolean.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// Any number.
    Number,
    /// Bytes as base64.
    Bytes,
    /// A time as RFC 3339.
    Time,
    /// A quantity such as `500m`; a number is accepted and kept as a string.
    Quantity,
    /// A whole number or a string, such as a port.
    IntOrString,
    /// Any JSON value.
    Any,
    /// An object of the named type.
    Object(&'static str),
    /// A list; [`Shape::of`] reads what its entries are.
    List(&'static str),
    /// A map from strings; [`Shape::of`] reads what its values are.
    Map(&'static str),
}

/// A default, and when it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultValue {
    /// The value as JSON.
    pub json: &'static str,
    /// Whether it also replaces an empty string or a zero.
    pub replaces_empty: bool,
}

/// The type of objects with this `apiVersion` and `kind`.
pub fn kind(api_version: &str, kind: &str) -> Option<Type> {
    let wanted = (api_version, kind);
    let line = bisect_lines(KINDS, |line| {
        let mut words = line.split_ascii_whitespace();
        let found = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        found.cmp(&wanted)
    })?;
    named(line.split_ascii_whitespace().nth(2)?)
}

/// Every `apiVersion` and `kind` there is.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    KINDS.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?))
    })
}

/// A type by its name in the table.
pub fn named(name: &str) -> Option<Type> {
    let index = STARTS
        .binary_search_by(|start| {
            let block = block_at(*start).unwrap_or_default();
            let end = block.find([' ', '\n']).unwrap_or(block.len());
            block.get(..end).unwrap_or_default().cmp(name)
        })
        .ok()?;
    let start = STARTS.get(index)?;
    let end = STARTS
        .get(index + 1)
        .map_or(Some(TYPES.len()), |end| usize::try_from(*end).ok())?;
    let block = TYPES.get(usize::try_from(*start).ok()?..end)?;
    let (first, fields) = block.split_once('\n')?;
    let (name, flags) = first.split_once(' ').unwrap_or((first, ""));
    Some(Type {
        name,
        flags,
        fields,
    })
}

// === impl Type ===

impl Type {
    /// Its name in the table, for example `core/v1.Container`.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Its name without group and version, for example `Container`.
    pub fn short_name(self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Its fields in the order of their names.
    pub fn fields(self) -> impl Iterator<Item = Field> {
        self.fields.lines().filter_map(Field::of)
    }

    /// One field.
    pub fn field(self, name: &str) -> Option<Field> {
        let line = bisect_lines(self.fields, |line| {
            let line = line.strip_prefix(' ').unwrap_or(line);
            let end = line.find(' ').unwrap_or(line.len());
            line.get(..end).unwrap_or_default().cmp(name)
        })?;
        Field::of(line)
    }

    /// The names of the fields that must be there.
    pub fn required(self) -> impl Iterator<Item = &'static str> {
        let names = flag(self.flags, "required").unwrap_or_default();
        names.split(',').filter(|name| !name.is_empty())
    }

    /// The fields that have a default.
    pub fn defaulted(self) -> impl Iterator<Item = Field> {
        self.listed("defaults")
    }

    /// The fields whose values are enumerated.
    pub fn enumerated(self) -> impl Iterator<Item = Field> {
        self.listed("enums")
    }

    /// Whether patches replace it as a whole.
    pub fn is_atomic(self) -> bool {
        flag(self.flags, "map") == Some("atomic")
    }

    fn listed(self, key: &str) -> impl Iterator<Item = Field> {
        let names = flag(self.flags, key).unwrap_or_default();
        names.split(',').filter_map(move |name| self.field(name))
    }
}

// === impl Field ===

impl Field {
    /// Whether it must be there.
    pub fn is_required(self) -> bool {
        self.flags.split(' ').any(|word| word == "required")
    }

    /// Its default.
    pub fn default(self) -> Option<DefaultValue> {
        let (before, json) = self.flags.split_once("default=")?;
        Some(DefaultValue {
            json,
            replaces_empty: before.ends_with("empty-"),
        })
    }

    /// The values it may have, in the order in which messages list them.
    pub fn enumeration(self) -> Option<impl Iterator<Item = &'static str>> {
        flag(self.flags, "enum").map(|values| values.split(','))
    }

    /// `x-kubernetes-patch-merge-key`: what tells the entries of a list apart in a strategic merge.
    pub fn merge_key(self) -> Option<&'static str> {
        flag(self.flags, "merge")
    }

    /// `x-kubernetes-patch-strategy`: merge, replace, retainKeys, or `merge,retainKeys`.
    pub fn patch_strategy(self) -> Option<&'static str> {
        flag(self.flags, "patch")
    }

    /// `x-kubernetes-list-type`: atomic, set or map.
    pub fn list_type(self) -> Option<&'static str> {
        flag(self.flags, "list")
    }

    /// `x-kubernetes-list-map-keys`: what tells the entries of a list apart in an apply.
    pub fn list_keys(self) -> impl Iterator<Item = &'static str> {
        let keys = flag(self.flags, "keys").unwrap_or_default();
        keys.split(',').filter(|key| !key.is_empty())
    }

    /// A line of a type, ` name shape flags…`.
    fn of(line: &'static str) -> Option<Self> {
        let (name, rest) = line.strip_prefix(' ')?.split_once(' ')?;
        let (shape, flags) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Self {
            name,
            shape: Shape::of(shape),
            flags,
        })
    }
}

// === impl Shape ===

impl Shape {
    /// What an expression of the table means.
    pub fn of(text: &'static str) -> Self {
        let inside = |open, close| text.strip_prefix(open)?.strip_suffix(close);
        if let Some(entry) = inside('[', ']') {
            return Self::List(entry);
        }
        if let Some(value) = inside('{', '}') {
            return Self::Map(value);
        }
        match text {
            "string" => Self::String,
            "bool" => Self::Bool,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "number" => Self::Number,
            "bytes" => Self::Bytes,
            "time" => Self::Time,
            "quantity" => Self::Quantity,
            "int-or-string" => Self::IntOrString,
            "any" => Self::Any,
            name => Self::Object(name),
        }
    }
}

/// The value of `key=value` among words.
fn flag(flags: &'static str, key: &str) -> Option<&'static str> {
    flags
        .split(' ')
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The line of a sorted text for which `compare` says equal, without its end.
fn bisect_lines(text: &'static str, compare: impl Fn(&str) -> Ordering) -> Option<&'static str> {
    let (mut low, mut high) = (0, text.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let before = text.get(..middle)?.rfind('\n');
        let start = before.map_or(0, |end| end + 1);
        let end = text
            .get(middle..)?
            .find('\n')
            .map_or(text.len(), |end| middle + end);
        let line = text.get(start..end)?;
        match compare(line) {
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = start,
            Ordering::Equal => return Some(line),
        }
    }
    None
}

/// The text from where a type begins.
fn block_at(start: u32) -> Option<&'static str> {
    TYPES.get(usize::try_from(start).ok()?..)
}

/// How many types there are: lines that do not begin with a space.
const fn count_types() -> usize {
    let (mut count, mut at) = (0, 0);
    while at < TYPES.len() {
        if begins_type(at) {
            count += 1;
        }
        at += 1;
    }
    count
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "run by the compiler, where a fault is a failure to build; the table is far below 4 GiB"
)]
const fn type_starts() -> [u32; count_types()] {
    let mut starts = [0; count_types()];
    let (mut count, mut at) = (0, 0);
    while at < TYPES.len() {
        if begins_type(at) {
            starts[count] = at as u32;
            count += 1;
        }
        at += 1;
    }
    starts
}

#[expect(clippy::indexing_slicing, reason = "run by the compiler only")]
const fn begins_type(at: usize) -> bool {
    let bytes = TYPES.as_bytes();
    (at == 0 || bytes[at - 1] == b'\n') && bytes[at] != b' '
}

#[cfg(test)]
mod tests;
