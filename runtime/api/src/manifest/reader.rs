//! From text to trees: YAML events with anchors, merge keys, tags and limits.
//!
//! JSON is read by the same path, since it is YAML. A text is read up to its first syntax error;
//! what stands before it is still returned, so that one run tells as much as it can.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{
    ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag,
};

use super::scalar;
use super::tree::{Data, Entry, Node};
use crate::error::ManifestError;
use crate::path::FieldPath;
use crate::source::{Mark, Position, Source};

/// The most values in one text, aliases counted as often as they are used: far above any real
/// manifest (a pod has about a hundred), and what bounds a bomb of aliases to some 200 MB.
pub(crate) const MAX_VALUES: usize = 400_000;

/// The deepest nesting: the deepest built-in type, a CRD's schema, is written with about 60.
pub(crate) const MAX_DEPTH: usize = 128;

/// The most documents in one text: their values are bounded too.
pub(crate) const MAX_DOCUMENTS: usize = 100_000;

/// Reads events into trees.
struct Reader<'t> {
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    /// What an alias stands for, and how many values that is.
    anchors: HashMap<usize, (Node, usize)>,
    values: usize,
}

/// What stops the reading, and where.
struct Stop {
    mark: Mark,
    message: String,
}

type Read<T> = Result<T, Stop>;

/// The documents of a text, without those that say nothing, and what stopped the reading.
pub(crate) fn documents(source: &Arc<Source>) -> (Vec<Node>, Option<ManifestError>) {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let text = source.text.as_str();
    let mut reader = Reader {
        text,
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        values: 0,
    };
    let mut found = Vec::new();
    let stopped = reader
        .read_all(&mut found)
        .err()
        .map(|stop| ManifestError::at(source, stop.mark, &FieldPath::default(), stop.message));
    (found, stopped)
}

// === impl Reader ===

impl<'t> Reader<'t> {
    fn read_all(&mut self, found: &mut Vec<Node>) -> Read<()> {
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) => self.anchors.clear(),
                Event::StreamStart | Event::DocumentEnd => {}
                event => {
                    let node = self.node(event, span, 0)?;
                    if node.is_null() {
                        continue;
                    }
                    if found.len() == MAX_DOCUMENTS {
                        let message =
                            format!("more than {MAX_DOCUMENTS} documents; split the file");
                        return Err(Stop {
                            mark: node.mark,
                            message,
                        });
                    }
                    found.push(node);
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Read<Option<(Event<'t>, Span)>> {
        let text = self.text;
        self.parser
            .next_event()
            .transpose()
            .map_err(|error| syntax(&error, text))
    }

    /// The next event inside a collection, which cannot end with the stream.
    fn next_inside(&mut self, mark: Mark) -> Read<(Event<'t>, Span)> {
        self.next()?.ok_or_else(|| Stop {
            mark,
            message: "the text ends inside this value".to_owned(),
        })
    }

    /// The value that begins with an event.
    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Read<Node> {
        let mark = mark(&span);
        if depth > MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(Stop { mark, message });
        }
        self.count(1, mark)?;
        let (data, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (plain_or_quoted(&text, style, tag.as_deref(), mark)?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                expect_tag(tag.as_deref(), "seq", mark)?;
                (self.list(mark, depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                expect_tag(tag.as_deref(), "map", mark)?;
                (self.map(mark, depth)?, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, mark),
            _ => {
                let message = "this is not a value".to_owned();
                return Err(Stop { mark, message });
            }
        };
        let node = Node { mark, data };
        if anchor != 0 {
            let size = node.size();
            self.count(size, mark)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn list(&mut self, mark: Mark, depth: usize) -> Read<Data> {
        let mut items = Vec::new();
        loop {
            match self.next_inside(mark)? {
                (Event::SequenceEnd, _) => return Ok(Data::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, mark: Mark, depth: usize) -> Read<Data> {
        let mut entries = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = match self.next_inside(mark)? {
                (Event::MappingEnd, _) => break,
                next => next,
            };
            let merges =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let (key, key_mark) = self.key(event, span, depth + 1)?;
            let (event, span) = self.next_inside(mark)?;
            let value = self.node(event, span, depth + 1)?;
            if merges {
                merge(value, &mut merged)?;
            } else {
                entries.push(Entry {
                    key,
                    mark: key_mark,
                    value,
                });
            }
        }
        if !merged.is_empty() {
            // What the mapping says itself wins, and so does what was merged first.
            let mut known: HashSet<String> = entries.iter().map(|own| own.key.clone()).collect();
            merged.retain(|entry| known.insert(entry.key.clone()));
            entries.append(&mut merged);
        }
        Ok(Data::Map(entries))
    }

    /// A key: always a string, so the YAML 1.1 boolean `on` is the key "on".
    fn key(&mut self, event: Event<'t>, span: Span, depth: usize) -> Read<(String, Mark)> {
        let mark = mark(&span);
        if let Event::Scalar(text, _, 0, None) = event {
            return Ok((text.into_owned(), mark));
        }
        let node = self.node(event, span, depth)?;
        match node.data {
            Data::String(text) => Ok((text, mark)),
            Data::Bool(_, spelling) | Data::Number(_, spelling) => Ok((spelling.into(), mark)),
            Data::Null | Data::List(_) | Data::Map(_) => {
                let message = "a key must be a word; put it in quotes".to_owned();
                Err(Stop { mark, message })
            }
        }
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Read<Node> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            let message = "this alias stands inside the value it refers to".to_owned();
            return Err(Stop { mark, message });
        };
        let (node, size) = (node.clone(), *size);
        self.count(size, mark)?;
        Ok(node)
    }

    fn count(&mut self, more: usize, mark: Mark) -> Read<()> {
        self.values = self.values.saturating_add(more);
        if self.values <= MAX_VALUES {
            return Ok(());
        }
        let message = format!(
            "more than {MAX_VALUES} values, aliases counted as often as they are used; split the file"
        );
        Err(Stop { mark, message })
    }
}

/// Adds what a merge key names: a mapping, or a list of mappings.
fn merge(value: Node, merged: &mut Vec<Entry>) -> Read<()> {
    match value.data {
        Data::Map(mut entries) => {
            merged.append(&mut entries);
            Ok(())
        }
        Data::List(items) => items.into_iter().try_for_each(|item| match item.data {
            Data::Map(_) => merge(item, merged),
            _ => Err(no_merge(item.mark)),
        }),
        _ => Err(no_merge(value.mark)),
    }
}

fn no_merge(mark: Mark) -> Stop {
    let message = "the merge key << takes a mapping or a list of mappings".to_owned();
    Stop { mark, message }
}

/// A scalar's value: quoted it is a string, plain it depends, tagged it is what the tag says.
fn plain_or_quoted(text: &str, style: ScalarStyle, tag: Option<&Tag>, mark: Mark) -> Read<Data> {
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => scalar::resolve(text),
            _ => Data::String(text.to_owned()),
        });
    };
    let wrong = || Stop {
        mark,
        message: format!("{text:?} is not what its tag {} says", tag.original()),
    };
    let resolved = scalar::resolve(text);
    match (tag.core_suffix(), resolved) {
        (Some("str"), _) => Ok(Data::String(text.to_owned())),
        (Some("int" | "float"), data @ Data::Number(..))
        | (Some("bool"), data @ Data::Bool(..))
        | (Some("null"), data @ Data::Null) => Ok(data),
        (Some("int" | "float" | "bool" | "null"), _) => Err(wrong()),
        _ => Err(unknown_tag(tag, mark)),
    }
}

/// Refuses any tag on a collection but its own.
fn expect_tag(tag: Option<&Tag>, own: &str, mark: Mark) -> Read<()> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(own) => Err(unknown_tag(tag, mark)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, mark: Mark) -> Stop {
    let message = format!(
        "the tag {} means nothing in a manifest; remove it",
        tag.original()
    );
    Stop { mark, message }
}

/// What a syntax error says, and where; with the remedy where one is plain.
fn syntax(error: &ScanError, text: &str) -> Stop {
    let marker = error.marker();
    let column = narrow(marker.col()).saturating_add(1);
    let mark = Mark::new(narrow(marker.line()), column, 1);
    match error.kind() {
        ErrorKind::TabInIndentation
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => Stop {
            mark: indenting_tab(text, marker.line()).unwrap_or(mark),
            message: "a tab in the indentation; use spaces".to_owned(),
        },
        ErrorKind::RecursionLimitExceeded => Stop {
            mark,
            message: format!("nested deeper than {MAX_DEPTH} levels"),
        },
        ErrorKind::UnclosedFlowCollection { open } => unclosed(mark, &format!("this {open}"), text),
        ErrorKind::UnclosedQuotedScalar => unclosed(mark, "this quote", text),
        _ if is_at_end(marker.index(), text) => Stop {
            mark: end(text),
            message: "the text ends here, too early; is the file cut?".to_owned(),
        },
        _ => Stop {
            mark,
            message: format!("this is not YAML: {}", error.info()),
        },
    }
}

/// Something that begins at a place and has no end: what a file that was cut looks like.
fn unclosed(mark: Mark, what: &str, text: &str) -> Stop {
    let Position { line, column } = end(text).position;
    let message = format!(
        "{what} is not closed: the text ends too early, in line {line}, column {column}; is the file cut?"
    );
    Stop { mark, message }
}

/// Whether nothing but blanks follows so many characters.
fn is_at_end(index: usize, text: &str) -> bool {
    text.chars().skip(index).all(char::is_whitespace)
}

/// The place behind the last character that is no blank.
fn end(text: &str) -> Mark {
    let written = text.trim_end();
    let last = written.lines().last().unwrap_or_default();
    let line = narrow(written.lines().count()).max(1);
    Mark::new(line, narrow(last.chars().count()).saturating_add(1), 1)
}

/// The first tab in the indentation of a line, from a line on: the parser may stop one line early.
fn indenting_tab(text: &str, from: usize) -> Option<Mark> {
    let numbered = text.lines().enumerate().skip(from.saturating_sub(1));
    numbered.take(2).find_map(|(index, line)| {
        let content = line.trim_start_matches([' ', '\t']);
        let column = line.strip_suffix(content)?.find('\t')?;
        Some(Mark::new(
            narrow(index).saturating_add(1),
            narrow(column).saturating_add(1),
            1,
        ))
    })
}

/// Where an event stands, underlined as far as its first line goes.
fn mark(span: &Span) -> Mark {
    let one_line = span.start.line() == span.end.line();
    let width = if one_line {
        span.end.col().saturating_sub(span.start.col())
    } else {
        1
    };
    Mark::new(
        narrow(span.start.line()),
        narrow(span.start.col()).saturating_add(1),
        narrow(width),
    )
}

/// A line or column; texts are far shorter than this holds.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
