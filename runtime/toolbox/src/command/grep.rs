//! grep: lines that match.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use regex_lite::Regex;

use crate::call::{Call, Failure, Options, Outcome};
use crate::regular::{self, Notation};
use crate::streams::Input;

/// What is wanted of every file.
struct Search<'a> {
    options: &'a Options,
    patterns: Vec<Regex>,
    with_names: bool,
}

const SPEC: &str = "e:,regexp: E,extended-regexp F,fixed-strings G i,ignore-case v,invert-match n,line-number \
                    c,count l,files-with-matches q,quiet,silent o,only-matching w,word-regexp x,line-regexp \
                    r,recursive,R h,no-filename H,with-filename s,no-messages";

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let mut options = call.options(SPEC)?;
    let patterns = patterns(&mut options)?;
    let files = files(call, &options);
    let with_names = match () {
        () if options.has("h") => false,
        () => options.has("H") || options.has("r") || files.len() > 1,
    };
    let search = Search {
        options: &options,
        patterns,
        with_names,
    };
    let mut found = false;
    let code = call.each_input(&files, |name, input| {
        found |= search.file(call, name, input)?;
        Ok(())
    })?;
    // As POSIX has it: 0 found, 1 not found, 2 something went wrong.
    Ok(match (code, found) {
        (0, true) => 0,
        (0, false) => 1,
        (_, true) if options.has("q") => 0,
        _ => 2,
    })
}

/// The patterns of all `-e`, or else the first operand; several in one text are apart by newlines.
fn patterns(options: &mut Options) -> Result<Vec<Regex>, Failure> {
    let mut texts: Vec<String> = options.values("e").map(str::to_owned).collect();
    if texts.is_empty() {
        if options.operands.is_empty() {
            return Err(Failure::usage("name a pattern"));
        }
        texts.push(options.operands.remove(0));
    }
    let notation = match () {
        () if options.has("F") => Notation::Fixed,
        () if options.has("E") => Notation::Extended,
        () => Notation::Basic,
    };
    texts
        .iter()
        .flat_map(|text| text.split('\n'))
        .map(|text| regular::compile(text, notation, options.has("i")))
        .collect()
}

/// The files to read, those below directories with `-r`.
fn files(call: &Call<'_>, options: &Options) -> Vec<String> {
    if !options.has("r") {
        return options.operands.clone();
    }
    let here = [".".to_owned()];
    let paths = if options.operands.is_empty() {
        &here
    } else {
        options.operands.as_slice()
    };
    let mut files = Vec::new();
    for path in paths {
        collect(path, &call.session.path(path), &mut files);
    }
    files
}

fn collect(name: &str, path: &Path, files: &mut Vec<String>) {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|data| data.is_dir());
    match fs::read_dir(path) {
        Ok(entries) if is_directory => {
            let mut names: Vec<_> = entries
                .filter_map(|entry| Some(entry.ok()?.file_name()))
                .collect();
            names.sort();
            for entry in names {
                let below = format!("{}/{}", name.trim_end_matches('/'), entry.to_string_lossy());
                collect(&below, &path.join(entry), files);
            }
        }
        _ => files.push(name.to_owned()),
    }
}

// === impl Search ===

impl Search<'_> {
    /// Searches one file; whether anything was found.
    fn file(&self, call: &Call<'_>, name: &str, input: &Input) -> Result<bool, Failure> {
        let name = if name == "-" {
            "(standard input)"
        } else {
            name
        };
        let mut out = &call.streams.out;
        let mut count = 0_u64;
        let prefix = if self.with_names {
            format!("{name}:")
        } else {
            String::new()
        };
        for (index, line) in input.lines().enumerate() {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if self.matches(&line) == self.options.has("v") {
                continue;
            }
            count += 1;
            if self.options.has("q") {
                return Ok(true);
            }
            if self.options.has("l") {
                writeln!(out, "{name}")?;
                return Ok(true);
            }
            if self.options.has("c") {
                continue;
            }
            let number = if self.options.has("n") {
                format!("{}:", index + 1)
            } else {
                String::new()
            };
            if !self.options.has("o") {
                writeln!(out, "{prefix}{number}{line}")?;
                continue;
            }
            for found in self
                .patterns
                .iter()
                .flat_map(|pattern| pattern.find_iter(&line))
            {
                writeln!(out, "{prefix}{number}{}", found.as_str())?;
            }
        }
        if self.options.has("c") {
            writeln!(out, "{prefix}{count}")?;
        }
        Ok(count > 0)
    }

    fn matches(&self, line: &str) -> bool {
        let is_letter = |c: char| c.is_alphanumeric() || c == '_';
        self.patterns.iter().any(|pattern| {
            pattern.find_iter(line).any(|found| {
                let before = line
                    .get(..found.start())
                    .and_then(|text| text.chars().next_back());
                let after = line.get(found.end()..).and_then(|text| text.chars().next());
                let is_word = !before.is_some_and(is_letter) && !after.is_some_and(is_letter);
                let is_line = before.is_none() && after.is_none();
                (is_word || !self.options.has("w")) && (is_line || !self.options.has("x"))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn lines_are_chosen() {
        let room = Room::new();
        room.file("a", "one\ntwo\nthree\n");
        room.file("d/b", "two\n");
        room.check(&[
            ("grep o a", "", "one\ntwo\n"),
            ("grep -v o a", "", "three\n"),
            ("grep -n t a", "", "2:two\n3:three\n"),
            ("grep -c t a d/b", "", "a:2\nd/b:1\n"),
            ("grep -l two a d/b", "", "a\nd/b\n"),
            ("grep -h two a d/b", "", "two\ntwo\n"),
            ("grep -rn two .", "", "./a:2:two\n./d/b:1:two\n"),
            ("grep -E ^(one|two)$", "one\nxtwo\ntwo\n", "one\ntwo\n"),
            ("grep -F a.c", "abc\na.c\n", "a.c\n"),
            ("grep -iw ONE", "one two\nstone\n", "one two\n"),
            ("grep -x two", "two\ntwo two\n", "two\n"),
            ("grep -o [0-9]*[0-9]", "a1b22\n", "1\n22\n"),
            ("grep -e one -e three a", "", "one\nthree\n"),
        ]);
    }

    #[test]
    fn exit_codes_tell_found_not_found_and_trouble() {
        let room = Room::new();
        room.file("a", "one\n");
        let cases: [(&[&str], u8); 6] = [
            (&["grep", "-q", "one", "a"], 0),
            (&["grep", "two", "a"], 1),
            (&["grep", "one", "none"], 2),
            (&["grep", "-q", "one", "none", "a"], 0),
            (&["grep", "-E", "(", "a"], 2),
            (&["grep"], 2),
        ];
        for (words, code) in cases {
            assert_eq!(room.run(words).code, code, "{words:?}");
        }
    }
}
