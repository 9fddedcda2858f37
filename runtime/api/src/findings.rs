//! What validation finds, in the words of Kubernetes.
//!
//! The causes and their texts are those of its `field.Error`, because people, scripts and client
//! libraries look for them. Where in a file a finding is, is not known here: `error` adds that.

use std::fmt;

use serde_json::Value;

use crate::cursor::At;
use crate::error::MAX_COLLECTED;
use crate::path::FieldPath;
use crate::validate::names::Complaints;

/// Why a field's value is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Missing or empty.
    Required,
    /// Not of the form it must have.
    Invalid,
    /// Not one of the values that exist.
    NotSupported,
    /// Refers to something that is not there.
    NotFound,
    /// Something else has it already.
    Duplicate,
    /// Not allowed here, whatever its value.
    Forbidden,
    /// Too many bytes.
    TooLong,
    /// Well formed, but wasmpod cannot honour it.
    Refused,
}

/// One field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Why.
    pub cause: Cause,
    /// Which field.
    pub path: FieldPath,
    /// The value as it is printed, where the text repeats it.
    pub value: Option<String>,
    /// What is asked for, and the remedy. May be empty.
    pub detail: String,
}

/// A growing list of findings.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    errors: Vec<FieldError>,
}

impl From<Vec<FieldError>> for Findings {
    fn from(errors: Vec<FieldError>) -> Self {
        Self { errors }
    }
}

// === impl Cause ===

impl Cause {
    /// The text that begins the message.
    fn title(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::NotFound => "Not found",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::Refused => "Not possible here",
        }
    }

    /// The `reason` of a Status cause, as the API server spells it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::NotFound => "FieldValueNotFound",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden | Self::Refused => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
        }
    }
}

// === impl FieldError ===

impl FieldError {
    /// The message without the path: `Invalid value: "x": must …`.
    pub fn message(&self) -> String {
        let mut text = self.cause.title().to_owned();
        for part in self
            .value
            .iter()
            .chain(Some(&self.detail).filter(|d| !d.is_empty()))
        {
            text.push_str(": ");
            text.push_str(part);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message())
    }
}

// === impl Findings ===

impl Findings {
    /// All of them, in the order they were found.
    pub(crate) fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    pub(crate) fn required(&mut self, at: &At<'_, '_>, detail: &str) {
        self.push(Cause::Required, at, None, detail);
    }

    /// The field's own value is not of the right form.
    pub(crate) fn invalid(&mut self, at: &At<'_, '_>, detail: &str) {
        self.push(Cause::Invalid, at, Some(printed(at.value())), detail);
    }

    /// A part of the field's value, or something derived from it, is not of the right form.
    pub(crate) fn invalid_part(&mut self, at: &At<'_, '_>, part: &str, detail: &str) {
        self.push(Cause::Invalid, at, Some(quoted(part)), detail);
    }

    /// A value further down makes the whole field wrong.
    pub(crate) fn invalid_because(&mut self, at: &At<'_, '_>, part: &At<'_, '_>, detail: &str) {
        self.push(Cause::Invalid, at, Some(printed(part.value())), detail);
    }

    /// The field's own value has been complained about.
    pub(crate) fn complain(&mut self, at: &At<'_, '_>, complaints: Complaints) {
        for complaint in complaints {
            self.invalid(at, &complaint);
        }
    }

    /// A part of the field's value, such as a key, has been complained about.
    pub(crate) fn complain_about(&mut self, at: &At<'_, '_>, part: &str, complaints: Complaints) {
        for complaint in complaints {
            self.invalid_part(at, part, &complaint);
        }
    }

    pub(crate) fn not_supported(&mut self, at: &At<'_, '_>, supported: &[&str]) {
        let detail = supported_values(supported);
        self.push(Cause::NotSupported, at, Some(printed(at.value())), &detail);
    }

    /// A part of the field's value is none of those that exist.
    pub(crate) fn not_supported_part(&mut self, at: &At<'_, '_>, part: &str, supported: &[&str]) {
        let detail = supported_values(supported);
        self.push(Cause::NotSupported, at, Some(quoted(part)), &detail);
    }

    pub(crate) fn not_found(&mut self, at: &At<'_, '_>) {
        self.push(Cause::NotFound, at, Some(printed(at.value())), "");
    }

    /// Something is referred to that is not there, with the remedy.
    pub(crate) fn not_found_because(&mut self, at: &At<'_, '_>, detail: &str) {
        self.push(Cause::NotFound, at, Some(printed(at.value())), detail);
    }

    pub(crate) fn duplicate(&mut self, at: &At<'_, '_>) {
        self.push(Cause::Duplicate, at, Some(printed(at.value())), "");
    }

    /// A value made of several fields is there twice.
    pub(crate) fn duplicate_of(&mut self, at: &At<'_, '_>, value: &str) {
        self.push(Cause::Duplicate, at, Some(quoted(value)), "");
    }

    pub(crate) fn forbidden(&mut self, at: &At<'_, '_>, detail: &str) {
        self.push(Cause::Forbidden, at, None, detail);
    }

    pub(crate) fn too_long(&mut self, at: &At<'_, '_>, limit: usize) {
        self.push(
            Cause::TooLong,
            at,
            None,
            &format!("may not be more than {limit} bytes"),
        );
    }

    pub(crate) fn refused(&mut self, at: &At<'_, '_>, detail: &str) {
        self.push(Cause::Refused, at, None, detail);
    }

    fn push(&mut self, cause: Cause, at: &At<'_, '_>, value: Option<String>, detail: &str) {
        if self.errors.len() >= MAX_COLLECTED {
            return;
        }
        self.errors.push(FieldError {
            cause,
            path: at.path(),
            value,
            detail: detail.to_owned(),
        });
    }
}

/// The values that exist, as Kubernetes lists them.
fn supported_values(supported: &[&str]) -> String {
    let list: Vec<String> = supported.iter().map(|value| quoted(value)).collect();
    format!("supported values: {}", list.join(", "))
}

/// A value as Kubernetes prints it in a message: strings quoted, the rest as JSON.
fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Null => quoted(""),
        other => other.to_string(),
    }
}

/// The longest piece of a value that a message repeats: enough to recognise it on one line.
const LONGEST_VALUE: usize = 200;

/// A string in double quotes, control characters escaped, cut where it is very long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
