//! What a script consists of. Made by [`super::parse()`], carried out by [`super::run`].

use std::rc::Rc;

/// Commands one after the other.
pub(super) type Script = Vec<AndOr>;

/// A word: its parts, joined.
pub(super) type Word = Vec<Part>;

/// `a && b || c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AndOr {
    pub(super) first: Pipeline,
    pub(super) rest: Vec<(Join, Pipeline)>,
}

/// How a pipeline follows the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    /// `&&`.
    And,
    /// `||`.
    Or,
}

/// `! a | b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pipeline {
    pub(super) negated: bool,
    pub(super) commands: Vec<Command>,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Variables, words and redirections.
    Simple(Simple),
    /// A loop and the like, with redirections of the whole.
    Compound(Compound, Vec<Redirect>),
    /// `name() { … }`.
    Function(String, Rc<Command>),
}

/// `X=1 command word > file`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Simple {
    pub(super) assignments: Vec<(String, Word)>,
    pub(super) words: Vec<Word>,
    pub(super) redirects: Vec<Redirect>,
}

/// A command made of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compound {
    /// `{ …; }`.
    Brace(Script),
    /// `( … )`.
    Subshell(Script),
    /// `if …; then …; elif …; then …; else …; fi`.
    If {
        branches: Vec<(Script, Script)>,
        otherwise: Script,
    },
    /// `while`, which goes on while the condition is true, or `until`.
    Loop {
        wanted: bool,
        condition: Script,
        body: Script,
    },
    /// `for NAME in …; do …; done`; without words over `"$@"`.
    For {
        name: String,
        words: Option<Vec<Word>>,
        body: Script,
    },
    /// `case … in …) …;; esac`.
    Case {
        word: Word,
        arms: Vec<(Vec<Word>, Script)>,
    },
}

/// `2> file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) descriptor: Option<u16>,
    pub(super) kind: RedirectKind,
    /// The file, the other descriptor, or the text itself.
    pub(super) target: Word,
}

/// What a redirection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RedirectKind {
    /// `<` and `<>`.
    Read,
    /// `>` and `>|`.
    Write,
    /// `>>`.
    Append,
    /// `<<`: the text follows in the script.
    Here,
    /// `<&`.
    DuplicateInput,
    /// `>&`.
    DuplicateOutput,
}

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Plain text.
    Literal(String),
    /// Text in single quotes or after a backslash.
    Quoted(String),
    /// What stands in double quotes.
    DoubleQuoted(Vec<Part>),
    /// `*`, `?`, `[` or `]`.
    Glob(char),
    /// `~` at the start.
    Tilde,
    /// `$x`.
    Parameter(Parameter),
    /// `${x…}`.
    Expansion(Parameter, Operation),
    /// `$(…)`.
    Command(Script),
    /// `$((…))`; its text is expanded first, then computed.
    Arithmetic(Word),
}

/// What a `$` can stand before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parameter {
    /// `$@`.
    All,
    /// `$*`.
    Joined,
    /// `$#`.
    Count,
    /// `$?`.
    Status,
    /// `$-`.
    Options,
    /// `$$`.
    Process,
    /// `$!`.
    Job,
    /// `$1`; 0 is the shell's name.
    Positional(usize),
    /// `$name`.
    Variable(String),
}

/// What is done with a parameter in `${…}`. The flag of the first four: whether an empty value
/// counts as none, which is what the colon says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// `${#x}`.
    Length,
    /// `${x:-word}`.
    Default(bool, Word),
    /// `${x:=word}`.
    Assign(bool, Word),
    /// `${x:?word}`.
    Require(bool, Word),
    /// `${x:+word}`.
    Alternative(bool, Word),
    /// `${x%word}` and the like.
    Cut(Cut, Word),
}

/// What `${x%pattern}` and its like take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// `%`.
    SmallestSuffix,
    /// `%%`.
    LargestSuffix,
    /// `#`.
    SmallestPrefix,
    /// `##`.
    LargestPrefix,
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("@"),
            Self::Joined => f.write_str("*"),
            Self::Count => f.write_str("#"),
            Self::Status => f.write_str("?"),
            Self::Options => f.write_str("-"),
            Self::Process => f.write_str("$"),
            Self::Job => f.write_str("!"),
            Self::Positional(number) => write!(f, "{number}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}
