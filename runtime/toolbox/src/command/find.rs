//! find: files below a path.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::base_name;
use crate::call::{Call, Failure, Outcome};

/// What a file must be, or what is done with it.
enum Part {
    Name(Pattern, bool),
    Path(Pattern),
    Kind(char),
    Not(Box<Part>),
    Print,
    Delete,
    Exec(Vec<String>),
}

/// All that the arguments ask for.
struct Search {
    parts: Vec<Part>,
    depths: (usize, usize),
}

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let count = call
        .args
        .iter()
        .take_while(|word| !word.starts_with('-') && *word != "!")
        .count();
    let (paths, expression) = call
        .args
        .split_at_checked(count)
        .unwrap_or((call.args, &[]));
    let search = parse(expression)?;
    let here = [".".to_owned()];
    let paths = if paths.is_empty() { &here } else { paths };
    let mut code = 0;
    for path in paths {
        walk(call, &search, path, &call.session.path(path), 0, &mut code)?;
    }
    Ok(code)
}

fn parse(words: &[String]) -> Result<Search, Failure> {
    let mut search = Search {
        parts: Vec::new(),
        depths: (0, usize::MAX),
    };
    let mut words = words.iter();
    let mut negated = false;
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| Failure::usage(format!("{word}: its value is missing")))
        };
        let part = match word.as_str() {
            "!" | "-not" => {
                negated = true;
                continue;
            }
            "-name" => Part::Name(pattern(value()?)?, true),
            "-iname" => Part::Name(pattern(value()?)?, false),
            "-path" => Part::Path(pattern(value()?)?),
            "-type" => Part::Kind(value()?.chars().next().unwrap_or('f')),
            "-maxdepth" => {
                search.depths.1 = number(value()?)?;
                continue;
            }
            "-mindepth" => {
                search.depths.0 = number(value()?)?;
                continue;
            }
            "-print" => Part::Print,
            "-delete" => Part::Delete,
            "-exec" => Part::Exec(
                words
                    .by_ref()
                    .take_while(|word| *word != ";" && *word != "+")
                    .cloned()
                    .collect(),
            ),
            other => {
                return Err(Failure::usage(format!(
                    "{other}: not known; see `help find`"
                )));
            }
        };
        search.parts.push(if negated {
            Part::Not(Box::new(part))
        } else {
            part
        });
        negated = false;
    }
    let acts = |part: &Part| matches!(part, Part::Print | Part::Delete | Part::Exec(_));
    if !search.parts.iter().any(acts) {
        search.parts.push(Part::Print);
    }
    Ok(search)
}

fn pattern(text: &str) -> Result<Pattern, Failure> {
    Pattern::new(text).map_err(|error| Failure::usage(format!("{text}: {error}")))
}

fn number(text: &str) -> Result<usize, Failure> {
    text.parse()
        .map_err(|_| Failure::usage(format!("{text}: not a number")))
}

/// Looks at one path, then at what lies below; a directory that is deleted comes after its files.
fn walk(
    call: &Call<'_>,
    search: &Search,
    name: &str,
    path: &Path,
    depth: usize,
    code: &mut u8,
) -> Result<(), Failure> {
    let deletes = search.parts.iter().any(|part| matches!(part, Part::Delete));
    let (least, most) = search.depths;
    if !deletes && depth >= least {
        look(call, search, name, path, code)?;
    }
    // A link is not followed, so that one that points upwards ends the walk.
    if depth < most && fs::symlink_metadata(path).is_ok_and(|data| data.is_dir()) {
        match fs::read_dir(path) {
            Ok(entries) => {
                let mut names: Vec<_> = entries
                    .filter_map(|entry| Some(entry.ok()?.file_name()))
                    .collect();
                names.sort();
                for entry in names {
                    let below =
                        format!("{}/{}", name.trim_end_matches('/'), entry.to_string_lossy());
                    walk(call, search, &below, &path.join(entry), depth + 1, code)?;
                }
            }
            Err(error) => {
                call.warn(Failure::at(name, &error).message);
                *code = 1;
            }
        }
    }
    if deletes && depth >= least {
        look(call, search, name, path, code)?;
    }
    Ok(())
}

/// Goes through the parts up to the first that does not hold.
fn look(
    call: &Call<'_>,
    search: &Search,
    name: &str,
    path: &Path,
    code: &mut u8,
) -> Result<(), Failure> {
    for part in &search.parts {
        match holds(call, part, name, path) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(failure) => {
                call.warn(failure.message);
                *code = 1;
                return Ok(());
            }
        }
    }
    Ok(())
}

fn holds(call: &Call<'_>, part: &Part, name: &str, path: &Path) -> Result<bool, Failure> {
    let at = |error: std::io::Error| Failure::at(name, &error);
    Ok(match part {
        Part::Name(pattern, case_sensitive) => {
            let options = MatchOptions {
                case_sensitive: *case_sensitive,
                ..MatchOptions::new()
            };
            pattern.matches_with(base_name(name), options)
        }
        Part::Path(pattern) => pattern.matches(name),
        Part::Kind(kind) => {
            let data = fs::symlink_metadata(path).map_err(at)?;
            match kind {
                'd' => data.is_dir(),
                'l' => data.is_symlink(),
                'f' => data.is_file(),
                _ => false,
            }
        }
        Part::Not(part) => !holds(call, part, name, path)?,
        Part::Print => {
            writeln!(&call.streams.out, "{name}")?;
            true
        }
        Part::Delete => {
            let is_directory = fs::symlink_metadata(path).map_err(at)?.is_dir();
            if is_directory {
                fs::remove_dir(path).map_err(at)?
            } else {
                fs::remove_file(path).map_err(at)?
            }
            true
        }
        Part::Exec(words) => {
            let words: Vec<String> = words.iter().map(|word| word.replace("{}", name)).collect();
            call.run(&words) == 0
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn files_are_found_by_what_they_are() {
        let room = Room::new();
        room.file("d/a.txt", "A");
        room.file("d/e/B.TXT", "B");
        room.file("d/e/c", "C");
        room.check(&[
            ("find d", "", "d\nd/a.txt\nd/e\nd/e/B.TXT\nd/e/c\n"),
            ("find d -name *.txt", "", "d/a.txt\n"),
            ("find d -iname *.txt", "", "d/a.txt\nd/e/B.TXT\n"),
            ("find d -type d", "", "d\nd/e\n"),
            ("find d -type f ! -name c", "", "d/a.txt\nd/e/B.TXT\n"),
            ("find d -mindepth 1 -maxdepth 1", "", "d/a.txt\nd/e\n"),
            ("find d -path d/e/*", "", "d/e/B.TXT\nd/e/c\n"),
            ("find d -type f -exec cat {} ;", "", "ABC"),
            ("find d/e -delete", "", ""),
            ("find d", "", "d\nd/a.txt\n"),
        ]);
        assert_eq!(room.run(&["find", "none"]).out, "none\n");
        assert_eq!(room.run(&["find", "-nonsense"]).code, 2);
    }
}
