//! Lists, pipes, conditions, loops and single commands.

use std::io::Write as _;
use std::rc::Rc;

use glob::Pattern;

use super::syntax::{AndOr, Command, Compound, Join, Pipeline, Script, Simple, Word};
use super::{Fatal, Shell, Variable, builtin};
use crate::command;
use crate::streams::{Input, Output, Streams};

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next command.
    Next,
    /// The end of this many loops.
    Break(u32),
    /// The next round of the loop this many outwards.
    Continue(u32),
    /// The end of the function or sourced file.
    Return,
    /// The end of the shell.
    Exit,
}

/// What every step of a script answers.
pub(super) type Step = Result<Flow, Fatal>;

// === impl Shell ===

impl Shell {
    /// Commands one after the other.
    pub(super) fn list(&mut self, script: &Script, streams: &Streams) -> Step {
        for list in script {
            let flow = self.and_or(list, streams)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// `a && b || c`.
    fn and_or(&mut self, list: &AndOr, streams: &Streams) -> Step {
        let last = list.rest.len();
        let mut flow = self.tested(last > 0, |shell| shell.pipeline(&list.first, streams))?;
        let mut ran_last = last == 0 && !list.first.negated;
        for (index, (join, pipeline)) in list.rest.iter().enumerate() {
            if flow != Flow::Next {
                return Ok(flow);
            }
            let is_wanted = (self.status == 0) == (*join == Join::And);
            let is_last = index + 1 == last;
            ran_last = is_wanted && is_last && !pipeline.negated;
            if is_wanted {
                flow = self.tested(!is_last, |shell| shell.pipeline(pipeline, streams))?;
            }
        }
        // Only a command that nobody looked at, and that failed, ends the script under `set -e`.
        let fails = self.status != 0 && ran_last;
        if flow == Flow::Next && fails && self.options.exit_on_error && self.conditions == 0 {
            return Ok(Flow::Exit);
        }
        Ok(flow)
    }

    /// Runs something whose failure is only looked at, if `is_condition`.
    fn tested<T>(&mut self, is_condition: bool, action: impl FnOnce(&mut Self) -> T) -> T {
        self.conditions += u32::from(is_condition);
        let outcome = action(self);
        self.conditions -= u32::from(is_condition);
        outcome
    }

    fn pipeline(&mut self, pipeline: &Pipeline, streams: &Streams) -> Step {
        let flow = match pipeline.commands.as_slice() {
            [command] => self.tested(pipeline.negated, |shell| shell.command(command, streams))?,
            commands => self.pipe(commands, streams)?,
        };
        if pipeline.negated {
            self.status = u8::from(self.status == 0);
        }
        Ok(flow)
    }

    /// Each part in a subshell, one after the other, with a buffer in between.
    fn pipe(&mut self, parts: &[Command], streams: &Streams) -> Step {
        let mut input = streams.input.clone();
        for (index, part) in parts.iter().enumerate() {
            let mut shell = self.subshell()?;
            let is_last = index + 1 == parts.len();
            let (pipe, kept) = Output::kept();
            let out = if is_last { streams.out.clone() } else { pipe };
            shell.command(
                part,
                &Streams {
                    input,
                    out,
                    err: streams.err.clone(),
                },
            )?;
            self.status = shell.status;
            input = Input::bytes(kept.take());
        }
        Ok(Flow::Next)
    }

    fn command(&mut self, command: &Command, streams: &Streams) -> Step {
        match command {
            Command::Simple(command) => self.simple(command, streams),
            Command::Compound(compound, redirects) => {
                let Some(streams) = self.redirected(redirects, streams)? else {
                    return Ok(Flow::Next);
                };
                self.compound(compound, &streams)
            }
            Command::Function(name, body) => {
                self.functions.insert(name.clone(), Rc::clone(body));
                self.status = 0;
                Ok(Flow::Next)
            }
        }
    }

    fn compound(&mut self, compound: &Compound, streams: &Streams) -> Step {
        match compound {
            Compound::Brace(body) => self.list(body, streams),
            Compound::Subshell(body) => {
                let mut shell = self.subshell()?;
                shell.list(body, streams)?;
                self.status = shell.status;
                Ok(Flow::Next)
            }
            Compound::If {
                branches,
                otherwise,
            } => self.conditional(branches, otherwise, streams),
            Compound::Loop {
                wanted,
                condition,
                body,
            } => self.repeat(*wanted, condition, body, streams),
            Compound::For { name, words, body } => {
                let values = match words {
                    Some(words) => self.fields(words, streams)?,
                    None => self.positional.clone(),
                };
                self.for_each(name, values, body, streams)
            }
            Compound::Case { word, arms } => self.case(word, arms, streams),
        }
    }

    fn conditional(
        &mut self,
        branches: &[(Script, Script)],
        otherwise: &Script,
        streams: &Streams,
    ) -> Step {
        for (condition, body) in branches {
            let flow = self.tested(true, |shell| shell.list(condition, streams))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
            if self.status == 0 {
                return self.list(body, streams);
            }
        }
        self.status = 0;
        self.list(otherwise, streams)
    }

    /// `while`, or `until` where `wanted` is false.
    fn repeat(
        &mut self,
        wanted: bool,
        condition: &Script,
        body: &Script,
        streams: &Streams,
    ) -> Step {
        let mut status = 0;
        loop {
            let flow = self.tested(true, |shell| shell.list(condition, streams))?;
            let flow = match flow {
                Flow::Next if (self.status == 0) != wanted => break,
                Flow::Next => self.list(body, streams)?,
                flow => flow,
            };
            status = self.status;
            match after_round(flow) {
                Round::Next => {}
                Round::End => break,
                Round::Leave(flow) => return Ok(flow),
            }
        }
        self.status = status;
        Ok(Flow::Next)
    }

    fn for_each(
        &mut self,
        name: &str,
        values: Vec<String>,
        body: &Script,
        streams: &Streams,
    ) -> Step {
        self.status = 0;
        for value in values {
            self.assign(name, value)?;
            match after_round(self.list(body, streams)?) {
                Round::Next => {}
                Round::End => break,
                Round::Leave(flow) => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn case(&mut self, word: &Word, arms: &[(Vec<Word>, Script)], streams: &Streams) -> Step {
        let text = self.text(word, streams)?;
        self.status = 0;
        for (patterns, body) in arms {
            for pattern in patterns {
                let pattern = self.pattern(pattern, streams)?;
                if Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches(&text)) {
                    return self.list(body, streams);
                }
            }
        }
        Ok(Flow::Next)
    }

    /// Variables, redirections and words.
    fn simple(&mut self, command: &Simple, streams: &Streams) -> Step {
        self.status_of_substitution = 0;
        let words = self.fields(&command.words, streams)?;
        let mut assignments = Vec::new();
        for (name, word) in &command.assignments {
            assignments.push((name.clone(), self.text(word, streams)?));
        }
        let Some(streams) = self.redirected(&command.redirects, streams)? else {
            return Ok(Flow::Next);
        };
        self.trace(&assignments, &words, &streams);
        if words.is_empty() {
            for (name, value) in assignments {
                self.assign(&name, value)?;
            }
            self.status = self.status_of_substitution;
            return Ok(Flow::Next);
        }
        self.with_variables(assignments, |shell| shell.call(&words, &streams))
    }

    /// Runs something with variables that are exported and forgotten afterwards.
    fn with_variables(
        &mut self,
        assignments: Vec<(String, String)>,
        action: impl FnOnce(&mut Self) -> Step,
    ) -> Step {
        let mut hidden = Vec::new();
        for (name, value) in assignments {
            hidden.push((name.clone(), self.variables.get(&name).cloned()));
            self.assign(&name, value)?;
            if let Some(variable) = self.variables.get_mut(&name) {
                variable.exported = true;
            }
        }
        let flow = action(self);
        self.restore(hidden);
        flow
    }

    pub(super) fn restore(&mut self, hidden: Vec<(String, Option<Variable>)>) {
        for (name, variable) in hidden.into_iter().rev() {
            match variable {
                Some(variable) => self.variables.insert(name, variable),
                None => self.variables.remove(&name),
            };
        }
    }

    /// A function, a builtin or a command of the toolbox.
    pub(super) fn call(&mut self, words: &[String], streams: &Streams) -> Step {
        let Some((name, args)) = words.split_first() else {
            return Ok(Flow::Next);
        };
        if let Some(body) = self.functions.get(name).cloned() {
            return self.function(&body, args, streams);
        }
        if let Some(builtin) = builtin::find(name) {
            return builtin(self, args, streams);
        }
        self.deeper()?;
        self.status = command::run(&self.session(), streams, words);
        self.depth -= 1;
        Ok(Flow::Next)
    }

    fn function(&mut self, body: &Command, args: &[String], streams: &Streams) -> Step {
        self.deeper()?;
        let caller = std::mem::replace(&mut self.positional, args.to_vec());
        self.hidden.push(Vec::new());
        let flow = self.command(body, streams);
        let hidden = self.hidden.pop().unwrap_or_default();
        self.restore(hidden);
        self.positional = caller;
        self.depth -= 1;
        Ok(match flow? {
            Flow::Return => Flow::Next,
            flow => flow,
        })
    }

    fn trace(&self, assignments: &[(String, String)], words: &[String], streams: &Streams) {
        if self.options.trace {
            let assigned = assignments
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            let shown: Vec<String> = assigned.chain(words.iter().cloned()).collect();
            // A trace that nobody sees is no reason to end.
            let _ = writeln!(&streams.err, "+ {}", shown.join(" "));
        }
    }
}

/// What a loop does after a round.
enum Round {
    Next,
    End,
    Leave(Flow),
}

fn after_round(flow: Flow) -> Round {
    match flow {
        Flow::Next | Flow::Continue(0 | 1) => Round::Next,
        Flow::Break(0 | 1) => Round::End,
        Flow::Break(loops) => Round::Leave(Flow::Break(loops - 1)),
        Flow::Continue(loops) => Round::Leave(Flow::Continue(loops - 1)),
        flow @ (Flow::Return | Flow::Exit) => Round::Leave(flow),
    }
}
