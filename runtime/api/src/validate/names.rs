//! The forms that names and keys must have, with Kubernetes' words for those that have not.
//!
//! Each function returns complaints; none means well formed.

use std::borrow::Cow;

/// What is wrong with a text.
pub(crate) type Complaints = Vec<Cow<'static, str>>;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SEARCH_DOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const VARIABLE: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// A DNS label: a container's name, a host name.
pub(crate) fn label(text: &str) -> Complaints {
    let mut complaints = too_long(text, 63);
    if !is_label(text) {
        let dotted = text.split('.').all(is_label);
        complaints.push(Cow::Borrowed(if dotted {
            "must not contain dots"
        } else {
            LABEL
        }));
    }
    complaints
}

/// A DNS subdomain: a pod's name, a ConfigMap's.
pub(crate) fn subdomain(text: &str) -> Complaints {
    let mut complaints = too_long(text, 253);
    if !text.split('.').all(is_label) {
        complaints.push(Cow::Borrowed(SUBDOMAIN));
    }
    complaints
}

/// A search domain of `dnsConfig`; underscores are allowed and so is the root.
pub(crate) fn search_domain(text: &str) -> Complaints {
    if text == "." {
        return Complaints::new();
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut complaints = too_long(text, 253);
    let part = |part: &str| {
        let rest = part.strip_prefix('_').unwrap_or(part);
        is_bounded(rest, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-_")
    };
    if !text.split('.').all(part) {
        complaints.push(Cow::Borrowed(SEARCH_DOMAIN));
    }
    complaints
}

/// A name with an optional prefix, as keys of labels and annotations are.
pub(crate) fn qualified(text: &str) -> Complaints {
    let mut complaints = Complaints::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => return vec![Cow::Borrowed(QUALIFIED)],
        Some(("", name)) => {
            complaints.push(Cow::Borrowed("prefix part must be non-empty"));
            name
        }
        Some((prefix, name)) => {
            complaints.extend(
                subdomain(prefix)
                    .into_iter()
                    .map(|why| Cow::Owned(format!("prefix part {why}"))),
            );
            name
        }
    };
    if name.is_empty() {
        complaints.push(Cow::Borrowed("name part must be non-empty"));
    }
    complaints.extend(
        too_long(name, 63)
            .into_iter()
            .map(|why| Cow::Owned(format!("name part {why}"))),
    );
    if !is_word(name) {
        complaints.push(Cow::Borrowed(NAME_PART));
    }
    complaints
}

/// The value of a label.
pub(crate) fn label_value(text: &str) -> Complaints {
    let mut complaints = too_long(text, 63);
    if !text.is_empty() && !is_word(text) {
        complaints.push(Cow::Borrowed(LABEL_VALUE));
    }
    complaints
}

/// A key of a ConfigMap or Secret, which may become a file's name.
pub(crate) fn config_key(text: &str) -> Complaints {
    let mut complaints = too_long(text, 253);
    let known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if text.is_empty() || !text.chars().all(known) {
        complaints.push(Cow::Borrowed(CONFIG_KEY));
    }
    match text {
        "." => complaints.push(Cow::Borrowed("must not be '.'")),
        ".." => complaints.push(Cow::Borrowed("must not be '..'")),
        _ if text.starts_with("..") => {
            complaints.push(Cow::Borrowed("must not start with '..'"));
        }
        _ => {}
    }
    complaints
}

/// The name of an environment variable.
pub(crate) fn variable(text: &str) -> Complaints {
    let printable = |c: char| matches!(c, ' '..='~') && c != '=';
    if text.chars().all(printable) {
        return Complaints::new();
    }
    vec![Cow::Borrowed(VARIABLE)]
}

/// The name of a port.
pub(crate) fn port_name(text: &str) -> Complaints {
    let mut complaints = too_long(text, 15);
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let rules = [
        (
            !text.is_empty() && text.chars().all(known),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (
            text.chars().any(|c| c.is_ascii_lowercase()),
            "must contain at least one letter (a-z)",
        ),
        (!text.contains("--"), "must not contain consecutive hyphens"),
        (
            !text.starts_with('-') && !text.ends_with('-'),
            "must not begin or end with a hyphen",
        ),
    ];
    let broken = rules.into_iter().filter(|(kept, _)| !kept);
    complaints.extend(broken.map(|(_, why)| Cow::Borrowed(why)));
    complaints
}

/// The name of an HTTP header.
pub(crate) fn header(text: &str) -> Complaints {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !text.is_empty() && text.chars().all(known) {
        return Complaints::new();
    }
    vec![Cow::Borrowed(HEADER)]
}

/// The number of a port.
pub(crate) fn port_number(number: i64) -> Complaints {
    between(number, 1, 65535)
}

/// A number in a range.
pub(crate) fn between(number: i64, least: i64, most: i64) -> Complaints {
    if (least..=most).contains(&number) {
        return Complaints::new();
    }
    vec![Cow::Owned(format!(
        "must be between {least} and {most}, inclusive"
    ))]
}

fn is_label(text: &str) -> bool {
    is_bounded(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-")
}

fn is_word(text: &str) -> bool {
    is_bounded(text, |c| c.is_ascii_alphanumeric(), "-_.")
}

/// Not empty, made of `end` characters and `inner` ones, with an `end` one at both ends.
fn is_bounded(text: &str, end: impl Fn(char) -> bool, inner: &str) -> bool {
    text.starts_with(&end)
        && text.ends_with(&end)
        && text.chars().all(|c| end(c) || inner.contains(c))
}

fn too_long(text: &str, limit: usize) -> Complaints {
    if text.len() <= limit {
        return Complaints::new();
    }
    vec![Cow::Owned(format!("must be no more than {limit} bytes"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: fn(&str) -> Complaints, cases: &[(&str, &[&str])]) {
        for (text, complaints) in cases {
            let found = form(text);
            assert_eq!(found.len(), complaints.len(), "{text:?}: {found:?}");
            for (found, start) in found.iter().zip(*complaints) {
                assert!(found.starts_with(start), "{text:?}: {found}");
            }
        }
    }

    #[test]
    fn names_have_the_forms_of_dns() {
        let long = "a".repeat(64);
        check(
            label,
            &[
                ("web-1", &[]),
                ("1", &[]),
                ("", &["a lowercase RFC 1123 label"]),
                ("Web", &["a lowercase RFC 1123 label"]),
                ("-a", &["a lowercase RFC 1123 label"]),
                ("a.b", &["must not contain dots"]),
                (&long, &["must be no more than 63 bytes"]),
            ],
        );
        check(
            subdomain,
            &[
                ("a.b-c.d", &[]),
                ("a..b", &["a lowercase RFC 1123 subdomain"]),
                ("a_b", &["a lowercase RFC 1123 subdomain"]),
            ],
        );
        check(
            search_domain,
            &[(".", &[]), ("_srv.a.", &[]), ("A", &["a lowercase"])],
        );
    }

    #[test]
    fn keys_and_values_of_labels() {
        check(
            qualified,
            &[
                ("app", &[]),
                ("example.com/App_1", &[]),
                (
                    "",
                    &["name part must be non-empty", "name part must consist"],
                ),
                ("/x", &["prefix part must be non-empty"]),
                ("A/x", &["prefix part a lowercase RFC 1123 subdomain"]),
                ("a/b/c", &["a qualified name"]),
                ("bad key", &["name part must consist"]),
            ],
        );
        check(
            label_value,
            &[
                ("", &[]),
                ("v1.2", &[]),
                ("a b", &["a valid label"]),
                ("x-", &["a valid label"]),
            ],
        );
    }

    #[test]
    fn keys_of_config_ports_and_variables() {
        check(
            config_key,
            &[
                ("app.conf", &[]),
                ("a/b", &["a valid config key"]),
                ("..", &["must not be '..'"]),
                ("..x", &["must not start with '..'"]),
            ],
        );
        check(
            port_name,
            &[
                ("http", &[]),
                ("80", &["must contain at least one letter"]),
                (
                    "HTTP",
                    &["must contain only", "must contain at least one letter"],
                ),
                ("a--b", &["must not contain consecutive"]),
                ("metrics-endpoints", &["must be no more than 15 bytes"]),
            ],
        );
        check(
            variable,
            &[
                ("PATH", &[]),
                ("a.b-c", &[]),
                ("A=B", &["a valid env"]),
                ("é", &["a valid env"]),
            ],
        );
        check(header, &[("X-A", &[]), ("X A", &["a valid HTTP header"])]);
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
    }
}
