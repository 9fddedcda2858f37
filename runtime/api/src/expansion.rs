//! `$(VAR)` in commands, arguments, variables and `subPathExpr`.
//!
//! `$(NAME)` becomes the variable's value, `$$` becomes one `$`, and a name that is not known stays
//! as it was written, so that a shell's own syntax survives. Values are not expanded again.

/// Why an expression that must be complete is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no variable {name:?}, or it is empty; declare it in env before it is used here")]
pub struct MissingVariable {
    /// The variable.
    pub name: String,
}

/// Expands a command, an argument or a variable's value; what is not known stays.
pub fn expand<'v>(text: &str, lookup: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => expanded.push_str(text),
            Piece::Variable { name, written } => expanded.push_str(lookup(name).unwrap_or(written)),
        }
    }
    expanded
}

/// Expands a `subPathExpr`, in which every variable must have a value.
///
/// # Errors
///
/// The first variable that has none.
pub fn expand_fully<'v>(
    text: &str,
    lookup: impl Fn(&str) -> Option<&'v str>,
) -> Result<String, MissingVariable> {
    let unknown = pieces(text).into_iter().find_map(|piece| match piece {
        Piece::Variable { name, .. } if lookup(name).is_none_or(str::is_empty) => Some(name),
        _ => None,
    });
    match unknown {
        Some(name) => Err(MissingVariable {
            name: name.to_owned(),
        }),
        None => Ok(expand(text, lookup)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    /// As it is.
    Text(&'t str),
    /// A variable, and the reference as written.
    Variable { name: &'t str, written: &'t str },
}

/// Cuts a text at its references and escapes.
fn pieces(mut rest: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    while let Some(dollar) = rest.find('$') {
        let (before, reference) = rest.split_at(dollar);
        found.push(Piece::Text(before));
        let after = reference.strip_prefix('$').unwrap_or_default();
        let closed = after
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'));
        rest = if let Some((name, after)) = closed {
            let written = reference
                .get(..reference.len() - after.len())
                .unwrap_or_default();
            found.push(Piece::Variable { name, written });
            after
        } else {
            // `$$` is one dollar; before anything else a dollar is just that.
            found.push(Piece::Text("$"));
            after.strip_prefix('$').unwrap_or(after)
        };
    }
    found.push(Piece::Text(rest));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<&'static str> {
        match name {
            "A" => Some("one"),
            "B" => Some("$(A)"),
            "EMPTY" => Some(""),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_and_the_rest_stays() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("$(A)", "one"),
            ("x$(A)y$(A)", "xoneyone"),
            ("$(B)", "$(A)"),
            ("$(EMPTY)!", "!"),
            ("$(C) and $()", "$(C) and $()"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$one"),
            ("$$$$", "$$"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("$(A$(A)", "$(A$(A)"),
            ("ä$(A)ä$ä", "äoneä$ä"),
        ] {
            assert_eq!(expand(text, lookup), expanded, "{text}");
        }
    }

    #[test]
    fn a_sub_path_needs_every_variable() {
        assert_eq!(expand_fully("logs/$(A)", lookup), Ok("logs/one".to_owned()));
        for (text, name) in [("$(C)", "C"), ("a/$(EMPTY)", "EMPTY")] {
            let missing = MissingVariable {
                name: name.to_owned(),
            };
            assert_eq!(expand_fully(text, lookup), Err(missing), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_without_references_comes_back_whole(text in "[^$]*") {
            proptest::prop_assert_eq!(expand(&text, lookup), text);
        }

        #[test]
        fn a_doubled_dollar_is_always_one(text in "[$()A]{0,12}") {
            let doubled = text.replace('$', "$$");
            proptest::prop_assert_eq!(expand(&doubled, lookup), text);
        }
    }
}
