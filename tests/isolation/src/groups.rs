//! What can be measured: groups of cases.

mod hostile;
mod http;
mod images;
mod languages;
mod localhost;
mod startup;

use anyhow::bail;

use crate::bench::Bench;
use crate::report::Figure;

pub(crate) use http::serve_plain;

/// Cases that are measured together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) measure: fn(&Bench) -> anyhow::Result<Vec<Figure>>,
}

/// In the order in which they run.
static GROUPS: [Group; 6] = [
    Group {
        name: "startup",
        measure: startup::measure,
    },
    Group {
        name: "localhost",
        measure: localhost::measure,
    },
    Group {
        name: "http",
        measure: http::measure,
    },
    Group {
        name: "images",
        measure: images::measure,
    },
    Group {
        name: "languages",
        measure: languages::measure,
    },
    Group {
        name: "hostile",
        measure: hostile::measure,
    },
];

/// The groups of these names, or all where none is named.
///
/// # Errors
/// When there is no group of a name.
pub(crate) fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Group>> {
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
        bail!(
            "there is no group {unknown:?}; there are {}",
            known.join(", ")
        );
    }
    let is_chosen = |group: &&Group| names.is_empty() || names.iter().any(|n| n == group.name);
    Ok(GROUPS.iter().filter(is_chosen).collect())
}

fn is_known(name: &str) -> bool {
    GROUPS.iter().any(|group| group.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_chosen_by_name() {
        let cases: [(&[&str], Option<&[&str]>); 4] = [
            (
                &[],
                Some(&[
                    "startup",
                    "localhost",
                    "http",
                    "images",
                    "languages",
                    "hostile",
                ]),
            ),
            (&["localhost"], Some(&["localhost"])),
            (&["localhost", "startup"], Some(&["startup", "localhost"])),
            (&["localhost", "starts"], None),
        ];
        for (names, wanted) in cases {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let found = chosen(&names).ok();
            let found: Option<Vec<&str>> = found.map(|g| g.iter().map(|g| g.name).collect());
            assert_eq!(found.as_deref(), wanted, "{names:?}");
        }
    }
}
