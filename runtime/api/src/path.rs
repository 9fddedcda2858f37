//! The path of a field in an object, printed as Kubernetes prints it.
//!
//! Deliberately not a query language: a path names exactly one place, which need not exist.

use std::fmt;

/// One step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A field of an object: `.image`.
    Field(String),
    /// An entry of a list: `[0]`.
    Index(usize),
    /// A key of a map such as labels or limits: `[cpu]`.
    Key(String),
}

/// Where a field is, from the top of its object: `spec.containers[0].image`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldPath {
    segments: Vec<Segment>,
}

/// The steps taken so far while walking down an object: a chain of borrowed links, which costs
/// nothing until somebody asks for the path.
#[derive(Clone, Copy)]
pub(crate) struct Trail<'p> {
    parent: Option<&'p Trail<'p>>,
    step: Step<'p>,
}

/// A borrowed [`Segment`], or the start of the way.
#[derive(Clone, Copy)]
pub(crate) enum Step<'p> {
    Top,
    Field(&'p str),
    Index(usize),
    Key(&'p str),
}

// === impl FieldPath ===

impl FieldPath {
    /// The steps, outermost first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it names the object itself.
    pub fn is_top(&self) -> bool {
        self.segments.is_empty()
    }

    /// The path made of these steps.
    pub fn of(segments: Vec<Segment>) -> Self {
        Self { segments }
    }

    /// The path of a field by names only, for example `["spec", "hostname"]`.
    pub fn of_fields(names: &[&str]) -> Self {
        Self {
            segments: names
                .iter()
                .map(|name| Segment::Field((*name).to_owned()))
                .collect(),
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Field(name) if place == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}

// === impl Trail ===

impl<'p> Trail<'p> {
    /// The start: the object itself.
    pub(crate) const TOP: Trail<'static> = Trail {
        parent: None,
        step: Step::Top,
    };

    /// One step further.
    pub(crate) fn then<'s>(&'s self, step: Step<'s>) -> Trail<'s>
    where
        'p: 's,
    {
        Trail {
            parent: Some(self),
            step,
        }
    }

    /// Whether the last step was to a field of this name.
    pub(crate) fn is_field(&self, name: &str) -> bool {
        matches!(self.step, Step::Field(field) if field == name)
    }

    /// The whole way, owned.
    pub(crate) fn path(&self) -> FieldPath {
        let mut segments = Vec::new();
        let mut here = Some(self);
        while let Some(trail) = here {
            match trail.step {
                Step::Top => {}
                Step::Field(name) => segments.push(Segment::Field(name.to_owned())),
                Step::Index(index) => segments.push(Segment::Index(index)),
                Step::Key(key) => segments.push(Segment::Key(key.to_owned())),
            }
            here = trail.parent;
        }
        segments.reverse();
        FieldPath { segments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_kubernetes_does() {
        let spec = Trail::TOP.then(Step::Field("spec"));
        let containers = spec.then(Step::Field("containers"));
        let container = containers.then(Step::Index(2));
        let image = container.then(Step::Field("image"));
        assert_eq!(image.path().to_string(), "spec.containers[2].image");
        let limits = container.then(Step::Field("limits"));
        assert_eq!(
            limits.then(Step::Key("cpu")).path().to_string(),
            "spec.containers[2].limits[cpu]"
        );
    }
}
