//! `WWW-Authenticate`: how a registry says what it wants.

/// One way to prove who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from elsewhere.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
    /// Name and password.
    Basic,
}

/// The first challenge of a header that we can meet. Bearer is preferred: a password is then shown
/// to the token server alone.
pub(super) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        for (scheme, parameters) in challenges(header) {
            let find = |name: &str| {
                let mut found = parameters.iter();
                found
                    .find(|(of, _)| of.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = find("realm")
            {
                return Some(Challenge::Bearer {
                    realm,
                    service: find("service"),
                    scope: find("scope"),
                });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

/// Schemes with their parameters: `Scheme k=v, k="v", Scheme2 …`.
fn challenges(header: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return found;
        }
        let Some(value) = after.trim_start().strip_prefix('=') else {
            found.push((word.to_owned(), Vec::new()));
            rest = after;
            continue;
        };
        let (value, after) = value_of(value.trim_start());
        if let Some((_, parameters)) = found.last_mut() {
            parameters.push((word.to_owned(), value));
        }
        rest = after;
    }
}

/// A token or a quoted string, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_of_the_field_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        let cases = [
            (
                "Bearer realm=\"https://a.example/token\",service=\"s\",scope=\"repository:a:pull,push\"",
                bearer(
                    "https://a.example/token",
                    Some("s"),
                    Some("repository:a:pull,push"),
                ),
            ),
            (
                "bearer Realm = https://a, x",
                bearer("https://a", None, None),
            ),
            (
                "Basic realm=\"r\", Bearer realm=\"u\"",
                bearer("u", None, None),
            ),
            ("Basic realm=\"a \\\"b\\\"\"", Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            ("Bearer", None),
            ("Negotiate, NTLM", None),
            ("", None),
        ];
        for (header, wanted) in cases {
            assert_eq!(parse([header].into_iter()), wanted, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(text in "\\PC{0,100}") {
            let _ = parse([text.as_str()].into_iter());
        }
    }
}
