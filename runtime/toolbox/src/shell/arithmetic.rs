//! `$(( … ))`, in 64 bits: parsed and computed in one go, after its variables were expanded.
//!
//! Overflow wraps, as in C; dividing by zero ends the script.

use super::{Fatal, Shell};

/// Binary operators by how strongly they bind, the weakest first.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

/// Operators that must not be read as the beginning of these longer ones.
const LONGER: [&str; 14] = [
    "||", "&&", "==", "!=", "<=", ">=", "<<", ">>", "**", "+=", "-=", "*=", "/=", "%=",
];

/// How deep parentheses and conditions may nest.
const DEPTH: u32 = 50;

/// An expression that is being computed.
struct Expression<'a> {
    shell: &'a mut Shell,
    text: &'a str,
    /// Not to be carried out: the other side of `&&`, `||` or `?:`.
    skipped: bool,
    depth: u32,
}

// === impl Shell ===

impl Shell {
    /// The value of an expression; assignments in it are made.
    pub(super) fn compute(&mut self, text: &str) -> Result<i64, Fatal> {
        if text.trim().is_empty() {
            return Ok(0);
        }
        let mut expression = Expression {
            shell: self,
            text,
            skipped: false,
            depth: 0,
        };
        let value = expression.whole()?;
        match expression.text.trim_start().chars().next() {
            None => Ok(value),
            Some(letter) => Err(wrong(&format!("`{letter}` is unexpected"))),
        }
    }

    /// A variable as a number; one that is not set, or empty, is 0.
    fn number(&self, name: &str) -> Result<i64, Fatal> {
        match self.variable(name).unwrap_or("").trim() {
            "" => Ok(0),
            text => literal(text)
                .ok_or_else(|| Fatal::new(format!("{name}: `{text}` is not a whole number"))),
        }
    }
}

fn wrong(message: &str) -> Fatal {
    Fatal::new(format!("arithmetic: {message}"))
}

/// Decimal, hexadecimal and octal numbers.
fn literal(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let value = if let Some(digits) = digits.strip_prefix("0x") {
        i64::from_str_radix(digits, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    Some(sign * value.ok()?)
}

// === impl Expression ===

impl Expression<'_> {
    fn next_is(&mut self, wanted: &str) -> bool {
        self.text = self.text.trim_start();
        let longer = LONGER
            .iter()
            .any(|longer| longer.len() > wanted.len() && self.text.starts_with(longer));
        match self.text.strip_prefix(wanted) {
            Some(rest) if !longer => {
                self.text = rest;
                true
            }
            _ => false,
        }
    }

    fn name(&mut self) -> Option<String> {
        self.text = self.text.trim_start();
        let end = self
            .text
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(self.text.len());
        let (name, rest) = self.text.split_at_checked(end)?;
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.text = rest;
        Some(name.to_owned())
    }

    /// Computes something that counts only if `wanted`.
    fn only_if(
        &mut self,
        wanted: bool,
        part: impl FnOnce(&mut Self) -> Result<i64, Fatal>,
    ) -> Result<i64, Fatal> {
        let before = self.skipped;
        self.skipped |= !wanted;
        let value = part(self);
        self.skipped = before;
        value
    }

    fn assign(&mut self, name: &str, value: i64) -> Result<i64, Fatal> {
        if !self.skipped {
            self.shell.assign(name, value.to_string())?;
        }
        Ok(value)
    }

    /// Computes one level deeper.
    fn nested(&mut self, part: fn(&mut Self) -> Result<i64, Fatal>) -> Result<i64, Fatal> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(wrong(&format!(
                "more than {DEPTH} expressions in each other"
            )));
        }
        let value = part(self);
        self.depth -= 1;
        value
    }

    /// Expressions apart by commas.
    fn whole(&mut self) -> Result<i64, Fatal> {
        let mut value = self.nested(Self::assignment)?;
        while self.next_is(",") {
            value = self.nested(Self::assignment)?;
        }
        Ok(value)
    }

    /// `x = 1`, `x += 1`, or a condition.
    fn assignment(&mut self) -> Result<i64, Fatal> {
        let start = self.text;
        if let Some(name) = self.name() {
            for operator in ["+=", "-=", "*=", "/=", "%="] {
                if self.next_is(operator) {
                    let right = self.nested(Self::assignment)?;
                    let left = self.shell.number(&name)?;
                    let value = self.apply(operator.trim_end_matches('='), left, right)?;
                    return self.assign(&name, value);
                }
            }
            if self.next_is("=") {
                let value = self.nested(Self::assignment)?;
                return self.assign(&name, value);
            }
        }
        self.text = start;
        self.condition()
    }

    /// `a ? b : c`.
    fn condition(&mut self) -> Result<i64, Fatal> {
        let condition = self.binary(0)?;
        if !self.next_is("?") {
            return Ok(condition);
        }
        let yes = self.only_if(condition != 0, Self::whole)?;
        if !self.next_is(":") {
            return Err(wrong("`:` is missing"));
        }
        let no = self.only_if(condition == 0, |this| this.nested(Self::assignment))?;
        Ok(if condition != 0 { yes } else { no })
    }

    fn binary(&mut self, level: usize) -> Result<i64, Fatal> {
        let Some(operators) = LEVELS.get(level) else {
            return self.power();
        };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.next_is(operator)) {
            left = match *operator {
                "&&" => {
                    let right = self.only_if(left != 0, |this| this.binary(level + 1))?;
                    i64::from(left != 0 && right != 0)
                }
                "||" => {
                    let right = self.only_if(left == 0, |this| this.binary(level + 1))?;
                    i64::from(left != 0 || right != 0)
                }
                operator => {
                    let right = self.binary(level + 1)?;
                    self.apply(operator, left, right)?
                }
            };
        }
        Ok(left)
    }

    fn apply(&self, operator: &str, a: i64, b: i64) -> Result<i64, Fatal> {
        let shift = u32::try_from(b.rem_euclid(64)).unwrap_or(0);
        Ok(match operator {
            "|" => a | b,
            "^" => a ^ b,
            "&" => a & b,
            "==" => i64::from(a == b),
            "!=" => i64::from(a != b),
            "<=" => i64::from(a <= b),
            ">=" => i64::from(a >= b),
            "<" => i64::from(a < b),
            ">" => i64::from(a > b),
            "<<" => a.wrapping_shl(shift),
            ">>" => a.wrapping_shr(shift),
            "+" => a.wrapping_add(b),
            "-" => a.wrapping_sub(b),
            "*" => a.wrapping_mul(b),
            "/" | "%" if b == 0 && self.skipped => 0,
            "/" | "%" if b == 0 => return Err(wrong("division by zero")),
            "/" => a.wrapping_div(b),
            _ => a.wrapping_rem(b),
        })
    }

    /// `a ** b`, from the right.
    fn power(&mut self) -> Result<i64, Fatal> {
        let base = self.unary()?;
        if !self.next_is("**") {
            return Ok(base);
        }
        let exponent = self.nested(Self::power)?;
        let exponent = u32::try_from(exponent).map_err(|_| wrong("an exponent below 0"))?;
        Ok(base.wrapping_pow(exponent))
    }

    fn unary(&mut self) -> Result<i64, Fatal> {
        match () {
            () if self.next_is("++") => Ok(self.step(1)?.1),
            () if self.next_is("--") => Ok(self.step(-1)?.1),
            () if self.next_is("-") => Ok(self.nested(Self::unary)?.wrapping_neg()),
            () if self.next_is("+") => self.nested(Self::unary),
            () if self.next_is("!") => Ok(i64::from(self.nested(Self::unary)? == 0)),
            () if self.next_is("~") => Ok(!self.nested(Self::unary)?),
            () => self.primary(),
        }
    }

    /// A variable before and after it is raised.
    fn step(&mut self, by: i64) -> Result<(i64, i64), Fatal> {
        let name = self
            .name()
            .ok_or_else(|| wrong("the name of a variable is missing"))?;
        self.step_of(&name, by)
    }

    fn step_of(&mut self, name: &str, by: i64) -> Result<(i64, i64), Fatal> {
        let before = self.shell.number(name)?;
        let after = self.assign(name, before.wrapping_add(by))?;
        Ok((before, after))
    }

    fn primary(&mut self) -> Result<i64, Fatal> {
        if self.next_is("(") {
            let value = self.whole()?;
            return if self.next_is(")") {
                Ok(value)
            } else {
                Err(wrong("`)` is missing"))
            };
        }
        if let Some(name) = self.name() {
            return match () {
                () if self.next_is("++") => Ok(self.step_of(&name, 1)?.0),
                () if self.next_is("--") => Ok(self.step_of(&name, -1)?.0),
                () => self.shell.number(&name),
            };
        }
        let end = self
            .text
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.text.len());
        let (digits, rest) = self.text.split_at_checked(end).unwrap_or((self.text, ""));
        self.text = rest;
        literal(digits).ok_or_else(|| wrong("a number is missing"))
    }
}

#[cfg(test)]
mod tests {
    use crate::session::Session;
    use crate::shell::Shell;

    #[test]
    fn expressions_have_their_values() {
        let mut shell = Shell::new(&Session::default());
        let cases = [
            ("", 0),
            ("1 + 2 * 3", 7),
            ("(1 + 2) * 3", 9),
            ("7 / 2 - 7 % 4", 0),
            ("2 ** 3 ** 2", 512),
            ("-2 ** 2", 4),
            ("1 < 2 && 3 >= 3", 1),
            ("0 || 0", 0),
            ("1 << 4 | 1", 17),
            ("5 & 3 ^ 1", 0),
            ("!0 + ~0", 0),
            ("0 && 1 / 0", 0),
            ("1 ? 2 : 1 / 0", 2),
            ("x = 5, x += 2, x", 7),
            ("x++ + ++x", 16),
            ("x - -1", 10),
            ("none + 1", 1),
            ("0x10 + 010", 24),
            ("9223372036854775807 + 1", i64::MIN),
            ("1 == 1 != 0", 1),
            ("1 > 2 ? 3 : 4 > 3", 1),
        ];
        for (text, wanted) in cases {
            assert_eq!(shell.compute(text).unwrap(), wanted, "{text}");
        }
        let wrong = [
            "1 +",
            "1 / 0",
            "(1",
            "1 2",
            "a = ",
            "08",
            "1 ? 2",
            "2 ** -1",
            &"(".repeat(9999),
            &"-".repeat(9999),
        ];
        for text in wrong {
            assert!(shell.compute(text).is_err(), "{text}");
        }
    }
}
